import { setTimeout as sleep } from 'node:timers/promises';
import { signRequest } from '@authmesh/sdk/core';
import { authMesh, verify } from '@authmesh/sdk/fastify';
import type { FastifyInstance, FastifyServerOptions } from 'fastify';
import { afterEach, describe, expect, it } from 'vitest';
import { fastifies, type Serving, serve } from '../support/fastify';
import { latest } from '../support/full';
import { connectHttp2, type Http2Pair, http2Exchange } from '../support/http2';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';

const machines = usePair();
let serving: Serving | undefined;

afterEach(async () => {
  await serving?.app.close();
  serving = undefined;
});

const codes = () => machines.refusals.map(({ code }) => code);

async function up(app: FastifyInstance): Promise<Serving> {
  serving = await serve(app);
  return serving;
}

/** An unsigned request on a connection of its own. */
async function unsigned(path: string, method = 'GET') {
  const { port, authority } = serving as Serving;
  return exchange(port, head(`${method} ${path} HTTP/1.1`, [`Host: ${authority}`]));
}

describe.each(latest(fastifies))('$name', ({ fastify }) => {
  const withAuth = async (
    options: FastifyServerOptions = {},
    hosts?: readonly string[],
  ): Promise<FastifyInstance> => {
    const app = fastify(options) as FastifyInstance;
    await app.register(authMesh, { amesh: machines.target, hosts });
    return app;
  };

  it('names the caller, and the time', async () => {
    const app = await withAuth();
    app.get('/', async (request) => request.authMesh);
    const { origin } = await up(app);
    const before = Math.floor(Date.now() / 1000);
    const response = await machines.controller.fetch(origin);
    const caller = (await response.json()) as { verifiedAt: number };
    expect(caller).toEqual({
      deviceId: machines.controllerId,
      friendlyName: 'controller',
      verifiedAt: expect.any(Number),
      scopes: [],
    });
    expect(caller.verifiedAt - before).toBeGreaterThanOrEqual(0);
    expect(caller.verifiedAt - before).toBeLessThan(10);
    expect(response.headers.get('cache-control')).toBe('private');
    expect(response.headers.get('vary')).toBe('Authorization, Signature-Input');
  });

  it('adds to Vary, and lets the handler set another Cache-Control', async () => {
    const app = fastify() as FastifyInstance;
    app.addHook('onRequest', async (_request, reply) => void reply.header('vary', 'Accept-Encoding'));
    await app.register(authMesh, { amesh: machines.target });
    app.get('/', async (_request, reply) => reply.header('cache-control', 'public, max-age=60').send('ok'));
    const { origin } = await up(app);
    const { headers } = await machines.controller.fetch(origin);
    expect(headers.get('vary')).toBe('Accept-Encoding, Authorization, Signature-Input');
    expect(headers.get('cache-control')).toBe('public, max-age=60');
  });

  describe('refusals', () => {
    it('are the same JSON as everywhere, whatever error handlers, serialisers and onSend hooks do', async () => {
      let told = 0;
      const app = fastify() as FastifyInstance;
      app.setErrorHandler((_error, _request, reply) => void reply.code(418).send('mine'));
      app.setReplySerializer(() => 'serialised');
      app.addHook('onSend', async () => 'replaced');
      app.addHook('onResponse', async () => void told++);
      await app.register(authMesh, { amesh: machines.target });
      app.post('/', async () => 'in');
      const { port, authority } = await up(app);
      const client = await RawClient.connect(port);
      const got = await client
        .write(
          head('POST / HTTP/1.1', [
            `Host: ${authority}`,
            'Content-Length: 2',
            'Content-Type: application/json',
          ]),
        )
        .response();
      expect(got).toMatchObject({
        status: 401,
        headers: {
          'content-type': 'application/json',
          'cache-control': 'no-store',
          'www-authenticate': 'AuthMesh error="unauthorized"',
          connection: 'close',
        },
        body: '{"error":"unauthorized"}',
      });
      expect(codes()).toEqual(['missing_header']);
      // Access logs still learn of it, where the client has not gone before.
      await expect.poll(() => told, { timeout: 5000 }).toBe(1);
      client.destroy();
    });

    it('keep the headers that earlier hooks have set, such as those of CORS', async () => {
      const app = fastify() as FastifyInstance;
      app.addHook('onRequest', async (_request, reply) => {
        reply.header('access-control-allow-origin', '*').header('set-cookie', ['a=1', 'b=2']);
      });
      await app.register(authMesh, { amesh: machines.target });
      const { origin } = await up(app);
      const response = await fetch(origin);
      expect(response.status).toBe(401);
      expect(response.headers.get('access-control-allow-origin')).toBe('*');
      expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    });

    it('come before the body has arrived, and before any preParsing hook', async () => {
      let parsed = 0;
      const app = fastify() as FastifyInstance;
      app.addHook('preParsing', async () => void parsed++);
      await app.register(authMesh, { amesh: machines.target });
      app.post('/', async () => 'in');
      const { port, authority } = await up(app);
      const client = await RawClient.connect(port);
      client.write(head('POST / HTTP/1.1', [`Host: ${authority}`, 'Content-Length: 1000000']));
      expect((await client.response()).status).toBe(401);
      expect(parsed).toBe(0);
      client.destroy();
    });

    it.each(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH'])('answers an unsigned %s', async (method) => {
      const app = await withAuth();
      app.route({ method: ['GET', 'DELETE', 'OPTIONS', 'PATCH'], url: '/', handler: async () => 'in' });
      const { origin } = await up(app);
      const got = await unsigned('/', method);
      expect(got.status).toBe(401);
      expect(got.body).toBe(method === 'HEAD' ? '' : '{"error":"unauthorized"}');
      const response = await machines.controller.fetch(origin, { method });
      expect([response.status, await response.text()]).toEqual([200, method === 'HEAD' ? '' : 'in']);
    });

    it('an unknown path reveals nothing to a stranger, and is 404 for a caller', async () => {
      const app = await withAuth();
      const { origin } = await up(app);
      expect((await unsigned('/nowhere')).status).toBe(401);
      const response = await machines.controller.fetch(`${origin}/nowhere`, { method: 'POST', body: 'x' });
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ statusCode: 404 });
    });

    it('the error handler gets an error of a handler', async () => {
      const app = await withAuth();
      app.setErrorHandler((error: Error, _request, reply) => void reply.code(418).send(error.message));
      app.get('/', async () => {
        throw new Error('the handler');
      });
      const { origin } = await up(app);
      const response = await machines.controller.fetch(origin);
      expect([response.status, await response.text()]).toEqual([418, 'the handler']);
    });

    it('leaves a response alone that somebody has sent in the meantime', async () => {
      for (const isNew of [true, false]) {
        const app = fastify() as FastifyInstance;
        app.addHook('onRequest', async (_request, reply) => {
          setTimeout(() => void reply.code(504).send('late'), 10);
        });
        await app.register(authMesh, {
          amesh: machines.target,
          nonceStore: { claim: () => sleep(60, isNew) },
        });
        app.get('/', async () => 'in');
        const { origin } = await up(app);
        const response = await machines.controller.fetch(origin);
        expect([response.status, await response.text()]).toEqual([504, 'late']);
        await sleep(100); // an unhandled rejection would fail the run
        await app.close();
      }
    });
  });

  describe('the target', () => {
    it.each(['/api/v1/orders?b=2&a=1&b=%20', '/api/v1/a%2Fb', '/api/v1//x'])(
      'is that on the wire: %s',
      async (target) => {
        const app = await withAuth();
        await app.register(
          async (scope) => {
            scope.get('/*', async (request) => request.originalUrl);
          },
          { prefix: '/api/v1' },
        );
        const { origin } = await up(app);
        expect(await (await machines.controller.fetch(origin + target)).text()).toBe(target);
      },
    );

    it('is refused if rewriteUrl routes it elsewhere', async () => {
      const app = await withAuth({ rewriteUrl: () => '/inside' });
      app.get('/inside', async () => 'in');
      const { origin } = await up(app);
      expect((await machines.controller.fetch(`${origin}/outside?a=1`)).status).toBe(401);
      expect(codes()).toEqual(['invalid_signature']);
    });

    it('path-confusion: a rewritten target is not the signed one', async () => {
      const app = await withAuth({ rewriteUrl: () => '/inside' });
      app.get('/inside', async () => 'in');
      const { port, authority } = await up(app);
      const { headers } = await signedRaw(machines.signer, authority, { target: '/inside' });
      expect((await exchange(port, head('GET /outside HTTP/1.1', headers))).status).toBe(401);
      expect(codes()).toEqual(['invalid_signature']);
    });

    it.each([
      '//orders',
      '/x/../orders',
      '/%6frders',
      '/ORDERS',
      '/orders/',
      '/orders;x',
      'http://127.0.0.1/orders',
      '*',
    ])('path-confusion: no unsigned request reaches a route: %s', async (target) => {
      let reached = 0;
      const app = await withAuth();
      app.get('/orders', async () => void reached++);
      const { port, authority } = await up(app);
      const got = await exchange(port, head(`GET ${target} HTTP/1.1`, [`Host: ${authority}`]));
      expect([400, 401, 404]).toContain(got.status);
      expect(reached).toBe(0);
    });
  });

  describe('behind a proxy', () => {
    async function viaProxy(options: object, server: FastifyServerOptions = {}) {
      const app = fastify(server) as FastifyInstance;
      await app.register(authMesh, { amesh: machines.target, ...options });
      app.get('/*', async () => 'in');
      const { port } = await up(app);
      const { headers } = await signedRaw(machines.signer, 'api.example.com', { target: '/orders' });
      return exchange(
        port,
        head('GET /orders HTTP/1.1', [
          'Host: internal:3000',
          ...headers.slice(1),
          'X-Forwarded-Host: api.example.com',
          'X-Forwarded-For: 10.0.0.1',
        ]),
      );
    }
    const hosts = ['api.example.com'];

    it('trusts X-Forwarded-Host with trustForwardedHost', async () => {
      expect((await viaProxy({ hosts, trustForwardedHost: true })).body).toBe('in');
    });

    it.each([false, true])(
      'untrusted-forwarded-host: does not trust it because of trustProxy: %s',
      async (trustProxy) => {
        const got = await viaProxy({ hosts }, { trustProxy });
        expect([got.status, got.body]).toEqual([421, '{"error":"wrong_host"}']);
        expect(codes()).toEqual(['wrong_host']);
      },
    );

    it('authority replaces Host', async () => {
      expect((await viaProxy({ authority: 'api.example.com' })).body).toBe('in');
    });
  });

  describe('encapsulation', () => {
    it('in a scope it applies to all routes of that scope and of nested scopes', async () => {
      const app = fastify() as FastifyInstance;
      app.get('/open', async () => 'open');
      await app.register(
        async (api) => {
          api.get('/before', async () => 'before');
          await api.register(authMesh, { amesh: machines.target });
          api.get('/after', async () => 'after');
          await api.register(async (inner) => void inner.get('/inner', async () => 'inner'));
        },
        { prefix: '/api' },
      );
      await app.register(async (other) => void other.get('/other', async () => 'other'));
      const { origin } = await up(app);
      for (const path of ['/open', '/other']) expect((await unsigned(path)).status, path).toBe(200);
      for (const path of ['/api/before', '/api/after', '/api/inner']) {
        expect((await unsigned(path)).status, path).toBe(401);
        expect((await machines.controller.fetch(origin + path)).status, path).toBe(200);
      }
    });

    it('at the root it applies to all routes, including those in a plugin made with fastify-plugin', async () => {
      const app = fastify() as FastifyInstance;
      const plugin = async (root: FastifyInstance) => {
        await root.register(authMesh, { amesh: machines.target });
      };
      await app.register(Object.assign(plugin, { [Symbol.for('skip-override')]: true }));
      app.get('/', async () => 'in');
      await app.register(async (scope) => void scope.get('/scope', async () => 'in'));
      await up(app);
      for (const path of ['/', '/scope']) expect((await unsigned(path)).status, path).toBe(401);
    });

    it('scopes have their own options, and a nested scope verifies the same request once', async () => {
      const app = await withAuth();
      await app.register(async (scope) => {
        await scope.register(authMesh, { amesh: machines.target, maxBodyBytes: 3 });
        scope.post('/small', async () => 'in');
      });
      app.post('/large', async () => 'in');
      const { origin } = await up(app);
      const post = async (path: string, body: string) =>
        (await machines.controller.fetch(origin + path, { method: 'POST', body })).status;
      expect(await post('/large', 'four')).toBe(200);
      expect(await post('/small', 'two')).toBe(200);
      expect(await post('/small', 'four')).toBe(413);
      expect(codes()).toEqual(['payload_too_large']);
    });

    it('single routes', async () => {
      const app = fastify() as FastifyInstance;
      app.get('/open', async () => 'open');
      app.get(
        '/closed',
        { onRequest: verify({ amesh: machines.target }) },
        async (request) => request.authMesh.friendlyName,
      );
      const { origin } = await up(app);
      expect((await unsigned('/open')).status).toBe(200);
      expect((await unsigned('/closed')).status).toBe(401);
      expect((await unsigned('/closed', 'HEAD')).status).toBe(401);
      expect(await (await machines.controller.fetch(`${origin}/closed`)).text()).toBe('controller');
    });

    it('a 404 handler of a scope is verified with it', async () => {
      const app = fastify() as FastifyInstance;
      await app.register(
        async (api) => {
          await api.register(authMesh, { amesh: machines.target });
          api.setNotFoundHandler((_request, reply) => void reply.code(404).send('none'));
        },
        { prefix: '/api' },
      );
      const { origin } = await up(app);
      expect((await unsigned('/api/nowhere')).status).toBe(401);
      expect(await (await machines.controller.fetch(`${origin}/api/nowhere`)).text()).toBe('none');
      expect((await unsigned('/nowhere')).status).toBe(404);
    });
  });

  describe('wrong use', () => {
    it.each([
      [{ hots: ['x'] }, /^verify\(\) has no option "hots"/],
      [{ maxBodyBytes: -1 }, /^maxBodyBytes must be a whole number of bytes\.$/],
      [{ prefix: '/api' }, /^authMesh takes no prefix: .* Register it inside that scope\.$/],
    ])('%j is a TypeError immediately', async (options, message) => {
      const app = fastify() as FastifyInstance;
      const failed = Promise.resolve(
        app.register(authMesh, { amesh: machines.target, ...options } as never).ready(),
      ).then(
        () => null,
        (error) => error,
      );
      const error = await failed;
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(message);
      expect(() => verify({ amesh: machines.target, ...options, prefix: undefined } as never)).toThrow(
        TypeError,
      );
    });

    it('verify without its parentheses fails closed, and says so', async () => {
      const app = fastify() as FastifyInstance;
      app.get('/', { onRequest: verify as never }, async () => 'in');
      const { origin } = await up(app);
      const response = await fetch(origin);
      expect(response.status).toBe(500);
      expect(await response.text()).toContain(
        'verify() was given a request. Call it in the route: { onRequest: verify() }.',
      );
    });

    it("Express's middleware as a hook fails closed, and says so", async () => {
      const app = fastify() as FastifyInstance;
      app.addHook('onRequest', machines.target.verify() as never);
      app.get('/', async () => 'in');
      const { origin } = await up(app);
      const response = await fetch(origin);
      expect(response.status).toBe(500);
      expect(await response.text()).toContain('For Fastify, use @authmesh/sdk/fastify.');
    });
  });

  describe('inject()', () => {
    async function injected(method: string, url: string, body?: string, sent = body) {
      const view = { method, target: url, authority: 'localhost', headers: { 'content-type': 'text/plain' } };
      const bytes = body === undefined ? null : Buffer.from(body);
      const { headers } = await signRequest({ ...view, body: bytes }, machines.signer);
      const app = await withAuth({}, ['localhost']); // no socket says a port
      app.all('/', async (request) => ({ from: request.authMesh.friendlyName, body: request.body ?? null }));
      return app.inject({
        method: method as 'GET',
        url,
        headers: { ...(headers as Record<string, string>), host: 'localhost' },
        ...(sent === undefined ? {} : { payload: sent }),
      });
    }

    it('works as over a socket, with a body and without one', async () => {
      expect((await injected('GET', '/')).json()).toEqual({ from: 'controller', body: null });
      expect((await injected('POST', '/?a', 'grüße')).json()).toEqual({ from: 'controller', body: 'grüße' });
    });

    it('refuses another body, and a request that is not signed', async () => {
      const got = await injected('POST', '/', 'one', 'two');
      expect([got.statusCode, got.body]).toEqual([401, '{"error":"unauthorized"}']);
      const app = await withAuth();
      const plain = await app.inject({ method: 'POST', url: '/', payload: 'x' });
      expect([plain.statusCode, plain.body]).toEqual([401, '{"error":"unauthorized"}']);
      expect(codes()).toEqual(['content_digest_mismatch', 'missing_header']);
    });
  });

  describe('HTTP/2', () => {
    let pair: Http2Pair | undefined;
    afterEach(async () => {
      await pair?.close();
      pair = undefined;
    });

    it('verifies, parses and refuses', async () => {
      const app = fastify({ http2: true }) as unknown as FastifyInstance;
      await app.register(authMesh, { amesh: machines.target });
      app.post('/orders', async (request) => ({ from: request.authMesh.friendlyName, body: request.body }));
      await app.ready();
      pair = await connectHttp2(app.server as never);
      const authority = `127.0.0.1:${pair.port}`;
      const body = Buffer.from('{"text":"grüße"}');
      const target = '/orders?b&a';
      const request = { method: 'POST', target, headers: { 'content-type': 'application/json' }, body };
      const { headers } = await signedRaw(machines.signer, authority, request);
      const fields = Object.fromEntries(headers.slice(1).map((line) => line.split(/: (.*)/s).slice(0, 2)));
      const pseudo = { ':method': 'POST', ':path': target, ':authority': authority };
      const got = await http2Exchange(pair.session, { ...pseudo, ...fields }, body);
      expect(codes()).toEqual([]);
      expect(JSON.parse(got.body)).toEqual({ from: 'controller', body: { text: 'grüße' } });
      const changed = await http2Exchange(pair.session, { ...pseudo, ...fields }, Buffer.from('{}'));
      expect([changed.status, changed.body]).toEqual([401, '{"error":"unauthorized"}']);
      const plain = await http2Exchange(pair.session, pseudo, body);
      expect([plain.status, plain.body]).toEqual([401, '{"error":"unauthorized"}']);
    });
  });
});
