import { createVerifier, InMemoryNonceStore } from '@authmesh/sdk/core';
import type { AuthenticatedRequest } from '@authmesh/sdk/workers';
import { Hono, type MiddlewareHandler } from 'hono';
import type { Fetch } from '../../contract/servers/serve';
import { vectorAllowList } from '../../support/vectors';

export const verifier = createVerifier({
  allowList: { ...vectorAllowList, hosts: [] },
  nonceStore: new InMemoryNonceStore({ startedAt: 0 }),
});

/** Says the secret to every spelling of `/api/x` that any reader may take for it. */
function loose({ url }: Request): Response {
  let path = url.replace(/[?#].*/s, '').replace(/^https?:\/\/[^/]*/, '');
  for (let i = 0; i < 2; i++)
    path = path.replace(/%([0-9a-f]{2})/gi, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
  const isSecret = /api[^/]*\/+(?:[^/]*\/\.\.\/)*x[^a-z]*$/i.test(path.replaceAll('\\', '/'));
  return new Response(isSecret ? 'for signed requests' : 'nothing here');
}

/**
 * Each way to place `verify()` that docs/placement.md calls safe, and one that it does not; `x-place` says which is asked.
 *
 * @param verify of the runtime, for Hono
 * @param protect `withAmesh()` of the runtime
 */
export function spellingsApp(
  verify: MiddlewareHandler,
  protect: (handler: (request: AuthenticatedRequest) => Promise<Response>) => Fetch,
): Fetch {
  const scope = () => new Hono().use(verify).all('*', (c) => loose(c.req.raw));
  const hono: Record<string, { fetch(request: Request, env: object): Response | Promise<Response> }> = {
    'Hono: verify() for the whole app': scope(),
    'Hono: a sub-app that has both': new Hono().route('/api', scope()),
    'Hono: verify() on the route itself': new Hono().get('/api/:name', verify, (c) =>
      c.req.param('name') === 'x' ? loose(c.req.raw) : c.text(''),
    ),
    'Hono: verify() on a path, and a loose handler': new Hono()
      .use('/api/*', verify)
      .all('*', (c) => loose(c.req.raw)),
  };
  const handler = protect(async (request) => loose(request));
  return (request, server) => {
    const place = request.headers.get('x-place') ?? '';
    const app = hono[place];
    return app === undefined ? handler(request, server) : app.fetch(request, server as object);
  };
}
