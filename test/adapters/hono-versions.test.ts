import { verify } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import type { Context, Hono, MiddlewareHandler } from 'hono';
import { afterEach, describe, expect, it } from 'vitest';
import { toHonoMiddleware } from '../../src/adapters/hono/middleware';
import { type Listening, listen } from '../support/listen';
import { asking, checked, provingVerifier, receive } from '../support/proofs';
import { exchange, head, RawClient } from '../support/raw-http';
import { usePair } from '../support/use-pair';

const machines = usePair();
const KEY = 'a-key-of-old';

/** Of one release of Hono: what these tests use, typed as the newest has it. */
interface Release {
  readonly Hono: new () => Hono;
  readonly HTTPException: typeof import('hono/http-exception').HTTPException;
  readonly bearerAuth: typeof import('hono/bearer-auth').bearerAuth;
  readonly cors: typeof import('hono/cors').cors;
  readonly combine: typeof import('hono/combine');
}

const releases: Record<string, () => Promise<Release>> = {
  '4.6': async () =>
    ({
      ...((await import('hono46')) as object),
      ...(await import('hono46/http-exception')),
      ...((await import('hono46/bearer-auth')) as object),
      ...((await import('hono46/cors')) as object),
      combine: (await import('hono46/combine')) as object,
    }) as unknown as Release,
  '4.9': async () =>
    ({
      ...((await import('hono49')) as object),
      ...(await import('hono49/http-exception')),
      ...((await import('hono49/bearer-auth')) as object),
      ...((await import('hono49/cors')) as object),
      combine: (await import('hono49/combine')) as object,
    }) as unknown as Release,
  'of today': async () => ({
    ...(await import('hono')),
    ...(await import('hono/http-exception')),
    ...(await import('hono/bearer-auth')),
    ...(await import('hono/cors')),
    combine: await import('hono/combine'),
  }),
};

describe.each(Object.entries(releases))('Hono %s', (_, load) => {
  let server: Listening | undefined;
  afterEach(() => server?.close());

  const protect = (): MiddlewareHandler => verify({ amesh: machines.target });
  const answer = async (c: Context) =>
    c.text(`${c.get('authMesh')?.friendlyName ?? 'key'} ${await c.req.text()}`);
  async function serve(app: Hono): Promise<Listening> {
    app.all('*', answer);
    server = await listen(getRequestListener(app.fetch));
    return server;
  }
  const post = (headers: Record<string, string> = {}) => ({ method: 'POST', body: 'hello', headers });
  const bearer = (key: string) => post({ authorization: `Bearer ${key}` });

  it('a refusal is the response of docs/protocol.md', async () => {
    const { Hono } = await load();
    const { origin } = await serve(new Hono().use(protect()) as Hono);
    const response = await fetch(origin);
    expect([response.status, await response.text()]).toEqual([401, '{"error":"unauthorized"}']);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('www-authenticate')).toBe('AuthMesh error="unauthorized"');
    expect(await (await machines.controller.fetch(origin, post())).text()).toBe('controller hello');
  });

  it('some(verify(), bearerAuth()) accepts a right API key, and the body with it', async () => {
    const { Hono, bearerAuth, combine } = await load();
    const app = new Hono();
    app.use(combine.some(protect(), bearerAuth({ token: KEY })));
    const { origin } = await serve(app);
    const byKey = await fetch(origin, bearer(KEY));
    expect([byKey.status, await byKey.text()]).toEqual([200, 'key hello']);
    const signed = await machines.controller.fetch(origin, post());
    expect([signed.status, await signed.text()]).toEqual([200, 'controller hello']);
    expect((await fetch(origin, bearer('wrong'))).status).toBe(401);
    expect((await fetch(origin, post())).status).toBe(401);
  });

  it('some(verify(), bearerAuth()) waits for a body that is still arriving', async () => {
    const { Hono, bearerAuth, combine } = await load();
    const app = new Hono();
    app.use(combine.some(protect(), bearerAuth({ token: KEY })));
    const { port, authority } = await serve(app);
    const client = await RawClient.connect(port);
    const lines = [`Host: ${authority}`, `Authorization: Bearer ${KEY}`, 'Content-Length: 10'];
    client.write(head('POST / HTTP/1.1', lines), '01234');
    await expect.poll(() => machines.refusals.length).toBe(1);
    client.write('56789');
    expect(await client.response()).toMatchObject({ status: 200, body: 'key 0123456789' });
    client.destroy();
  });

  it('some(bearerAuth(), verify()) ends with our refusal', async () => {
    const { Hono, bearerAuth, combine } = await load();
    const app = new Hono();
    app.use(combine.some(bearerAuth({ token: KEY }), protect()));
    const { origin } = await serve(app);
    expect((await fetch(origin, bearer(KEY))).status).toBe(200);
    expect((await machines.controller.fetch(origin, post())).status).toBe(200);
    const neither = await fetch(origin, post());
    expect(neither.headers.get('www-authenticate')).toBe('AuthMesh error="unauthorized"');
  });

  it('every() needs both, and except() neither', async () => {
    const { Hono, combine } = await load();
    const app = new Hono();
    const tagged: MiddlewareHandler = async (c, next) => {
      if (c.req.header('x-tag') === undefined) return c.text('no tag', 403);
      await next();
      return undefined;
    };
    app.use('/both/*', combine.every(protect(), tagged));
    app.use('/open/*', combine.except('/open/health', protect()));
    const { origin } = await serve(app);
    expect((await fetch(`${origin}/both/x`)).status).toBe(401);
    expect((await machines.controller.fetch(`${origin}/both/x`)).status).toBe(403);
    expect((await machines.controller.fetch(`${origin}/both/x`, { headers: { 'x-tag': '1' } })).status).toBe(
      200,
    );
    expect((await fetch(`${origin}/open/health`)).status).toBe(200);
    expect((await fetch(`${origin}/open/x`)).status).toBe(401);
    expect((await machines.controller.fetch(`${origin}/open/x`)).status).toBe(200);
  });

  it('an onError gets it as an HTTPException, in a nested application, too', async () => {
    const { Hono } = await load();
    const app = new Hono();
    const seen: unknown[] = [];
    app.onError((error, c) => {
      seen.push(error.message);
      if (!('getResponse' in error)) return c.text('of mine', 500);
      const response = (error as { getResponse(): Response }).getResponse();
      response.headers.set('x-mine', '1');
      return response;
    });
    const inner = new Hono();
    inner.use(protect());
    inner.all('*', answer);
    app.route('/inner', inner);
    app.use('/outer/*', protect());
    const { origin } = await serve(app);
    for (const path of ['/inner/x', '/outer/x']) {
      const response = await fetch(origin + path, post());
      expect([response.status, await response.text()]).toEqual([401, '{"error":"unauthorized"}']);
      expect(response.headers.get('x-mine')).toBe('1');
    }
    expect(seen).toEqual(['{"error":"unauthorized"}', '{"error":"unauthorized"}']);
  });

  it('proves its answers to callers that ask', async () => {
    const { Hono, HTTPException } = await load();
    const app = new Hono();
    let verifier: Awaited<ReturnType<typeof provingVerifier>>;
    app.use(toHonoMiddleware(() => verifier));
    app.get('/json', (c) => c.json({ a: 1 }, 201));
    app.get('/own', () => new Response('own', { headers: { link: '</>' } }));
    app.get('/headers', (c) => {
      c.header('Set-Cookie', 'a=1');
      c.header('Set-Cookie', 'b=2', { append: true });
      return c.html('<p>');
    });
    app.get('/none', (c) => c.body(null, 204));
    app.get('/away', (c) => c.redirect('/json', 303));
    app.get('/error', () => {
      throw new HTTPException(409, { message: 'conflict' });
    });
    app.get('/failure', () => {
      throw new Error('of the handler');
    });
    app.onError((error, c) =>
      'getResponse' in error ? (error as { getResponse(): Response }).getResponse() : c.text('', 500),
    );
    const { authority, port } = await serve(app);
    verifier = await provingVerifier({ hosts: [authority] });
    const statuses = {
      json: 201,
      own: 200,
      headers: 200,
      none: 204,
      away: 303,
      error: 409,
      failure: 500,
      x: 200,
    };
    for (const [path, status] of Object.entries(statuses)) {
      const { request, expected } = await asking({ target: `/${path}`, authority });
      const answer = await checked(await receive(port, request), expected);
      expect([path, answer.status, answer.proof]).toEqual([path, status, 'proven']);
      if (path === 'headers') expect(answer.covered).toContain('set-cookie');
    }
  });

  it('has the headers of the middleware before it', async () => {
    const { Hono, cors } = await load();
    const app = new Hono();
    app.use(cors({ origin: 'https://example.com' }));
    app.use(protect());
    const { origin } = await serve(app);
    const response = await fetch(origin, { headers: { origin: 'https://example.com' } });
    expect(response.status).toBe(401);
    expect(response.headers.get('access-control-allow-origin')).toBe('https://example.com');
  });

  it('closes the connection after a refusal that leaves a body unread', async () => {
    const { Hono } = await load();
    const { port, authority } = await serve(new Hono().use(protect()) as Hono);
    const client = await RawClient.connect(port);
    client.write(head('POST / HTTP/1.1', [`Host: ${authority}`, 'Content-Length: 10']), '12345');
    const response = await client.response();
    expect(response).toMatchObject({ status: 401, body: '{"error":"unauthorized"}' });
    expect(response.headers.connection).toBe('close');
    client.write('67890');
    await client.closed();
    expect(client.error).toBeUndefined();
    const whole = head('POST / HTTP/1.1', [`Host: ${authority}`, 'Content-Length: 0']);
    expect((await exchange(port, whole)).headers.connection).not.toBe('close');
  });
});
