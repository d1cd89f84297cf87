import { createVerifier, InMemoryNonceStore } from '@authmesh/sdk/core';
import type { AuthenticatedRequest } from '@authmesh/sdk/workers';
import { Hono, type MiddlewareHandler } from 'hono';
import type { Fetch } from '../../contract/servers/serve';
import { vectorAllowList } from '../../support/vectors';

export const verifier = createVerifier({
  allowList: { ...vectorAllowList, hosts: [] },
  nonceStore: new InMemoryNonceStore({ startedAt: 0 }),
});

/**
 * A server without hosts, in each of the ways in which a handler is protected.
 *
 * @param verify of the runtime, for Hono
 * @param protect `withAmesh()` of the runtime
 */
export function loopbackApp(
  verify: MiddlewareHandler,
  protect: (handler: (request: AuthenticatedRequest) => Promise<Response>) => Fetch,
): Fetch {
  const app = new Hono().use(verify);
  app.all('*', (c) => c.text('in'));
  const handler = protect(async () => new Response('in'));
  const alone: Fetch = async (request) => {
    const verdict = await verifier.verify(request);
    return verdict.ok ? new Response('in') : verdict.response;
  };
  const parts: Record<string, Fetch> = {
    '/hono': (request, server) => app.fetch(request, server as object),
    '/handler': (request, server) => handler(request, server),
    '/alone': alone,
  };
  return (request, server) => (parts[new URL(request.url).pathname] as Fetch)(request, server);
}
