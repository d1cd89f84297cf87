import { createVerifier, InMemoryNonceStore } from '@authmesh/sdk/core';
import { Hono } from 'hono';
import { toHonoMiddleware } from '../../../src/adapters/hono/middleware';
import { toFetchHandler } from '../../../src/adapters/workers/handler';
import { type Fetch, serve } from '../../contract/servers/serve';
import { vectorAllowList } from '../../support/vectors';

const verifier = createVerifier({
  allowList: { ...vectorAllowList, hosts: [] },
  nonceStore: new InMemoryNonceStore({ startedAt: 0 }),
});

const app = new Hono().use(toHonoMiddleware(() => verifier));
app.all('*', (c) => c.text('in'));
const handler = toFetchHandler<unknown[]>(
  () => verifier,
  async () => new Response('in'),
);
const alone: Fetch = async (request) => {
  const verdict = await verifier.verify(request);
  return verdict.ok ? new Response('in') : verdict.response;
};

const parts: Record<string, Fetch> = {
  '/hono': (request, server) => app.fetch(request, server as object),
  '/handler': (request, server) => handler(request, server),
  '/alone': alone,
};

/** A server without hosts, in each of the ways in which a handler is protected. */
export default serve((request, server) => (parts[new URL(request.url).pathname] as Fetch)(request, server));
