// The Worker under test: a protected one, a client, and its Durable Object, bound as each test says.
import { createClient } from '@authmesh/sdk/core';
import { toSigner, webCrypto } from '@authmesh/sdk/crypto/web';
import { Hono } from 'hono';
import type { DurableObjectNamespace } from '../../src/adapters/workers/durable-nonces';
import { hasScope, verify } from '../../src/entries/hono.web';
import { AmeshNonces, withAmesh } from '../../src/entries/workers.web';

interface Env {
  readonly AMESH_NONCES: DurableObjectNamespace;
  readonly DEVICE_KEY: string;
  readonly MAX_STALE?: string;
  readonly ENROLL?: string;
  readonly DELEGATES?: string;
}

const settings = (env: Env) => ({
  ...(env.MAX_STALE === undefined ? {} : { maxStaleSeconds: Number(env.MAX_STALE) }),
  enroll: env.ENROLL !== undefined,
  delegates: env.DELEGATES !== undefined,
});

const plain = withAmesh<Env>(
  {
    async fetch(request, _env, ctx) {
      ctx.waitUntil(Promise.resolve());
      return Response.json({ by: request.authMesh.friendlyName, body: await request.text() });
    },
    async scheduled() {},
  },
  settings,
);

const hono = new Hono<{ Bindings: Env }>();
hono.use('/hono/*', verify(settings));
hono.post('/hono/orders', async (c) =>
  c.json({ by: c.get('authMesh').friendlyName, body: await c.req.text() }),
);

// A verify() of its own for some routes, behind the one for all.
const requiring = (require: string) => verify((env: Env) => ({ ...settings(env), require }));
hono.post('/hono/read', requiring('orders:read'), async (c) =>
  c.json({ scopes: c.get('authMesh').scopes, body: await c.req.text() }),
);
hono.post('/hono/write', requiring('orders:write'), (c) => c.json({ mayRead: hasScope(c, 'orders:read') }));

/** Signs with a key that came as a secret, or with one that cannot be taken out of the runtime. */
async function call(url: string, kind: string, env: Env): Promise<Response> {
  const jwk = JSON.parse(env.DEVICE_KEY);
  const known = await webCrypto.importPrivateKey(jwk);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const key = await crypto.subtle.importKey('jwk', jwk, algorithm, false, ['sign']);
  const signer = kind === 'secret' ? known : toSigner(key, known.publicKey);
  const response = await createClient({ signer }).fetch(url, { method: 'POST', body: 'from a Worker' });
  return Response.json({ status: response.status, text: await response.text() });
}

export { AmeshNonces };
export default {
  async fetch(request: Request, env: Env, ctx: Parameters<typeof plain.fetch>[2]): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === '/call')
      return call(searchParams.get('url') as string, searchParams.get('kind') as string, env);
    if (pathname === '/claim') {
      const object = env.AMESH_NONCES.get(env.AMESH_NONCES.idFromName('am_test'));
      return object.fetch(`https://x.invalid/?${searchParams}`, { method: 'POST' });
    }
    if (pathname.startsWith('/hono/')) return hono.fetch(request, env);
    return plain.fetch(request, env, ctx);
  },
};
