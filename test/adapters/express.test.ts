import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Amesh } from '@authmesh/sdk';
import { createVerifier, InMemoryNonceStore } from '@authmesh/sdk/core';
import { verify as verifyExpress } from '@authmesh/sdk/express';
import type { ErrorRequestHandler, Express, RequestHandler } from 'express';
import { Hono } from 'hono';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { callsOf } from '../support/calls-of';
import { frameworks } from '../support/frameworks';
import { latest } from '../support/full';
import { type Listening, listen } from '../support/listen';
import { createMachines } from '../support/machines';
import { exchange, head } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';

const machines = usePair();
let server: Listening | undefined;

afterEach(async () => {
  await server?.close();
  server = undefined;
});

const codes = () => machines.refusals.map(({ code }) => code);

async function serve(app: Parameters<typeof listen>[0]): Promise<Listening> {
  server = await listen(app);
  return server;
}

describe.each(latest(frameworks))('$name', ({ express }) => {
  it('runs the server of the README', async () => {
    const app = express();
    app.use(express.text({ type: '*/*' }));
    app.use('/api', machines.target.verify());
    app.post('/api/orders', (req, res) => {
      res.json({ from: req.authMesh.friendlyName, order: JSON.parse(req.body) });
    });
    const { origin } = await serve(app);

    const body = JSON.stringify({ item: 'grüße', count: 2 });
    const response = await machines.controller.fetch(`${origin}/api/orders`, { method: 'POST', body });
    expect(await response.json()).toEqual({ from: 'controller', order: { item: 'grüße', count: 2 } });

    const unsigned = await fetch(`${origin}/api/orders`, { method: 'POST', body });
    expect(unsigned.status).toBe(401);
    expect(await unsigned.json()).toEqual({ error: 'unauthorized' });
    expect(codes()).toEqual(['missing_header']);
  });

  it('names the caller, and the time', async () => {
    const app = express();
    app.get('/', machines.target.verify(), (req, res) => void res.json(req.authMesh));
    const { origin } = await serve(app);
    const before = Math.floor(Date.now() / 1000);
    const caller = (await (await machines.controller.fetch(origin)).json()) as { verifiedAt: number };
    expect(caller).toEqual({
      deviceId: machines.controllerId,
      friendlyName: 'controller',
      verifiedAt: expect.any(Number),
      scopes: [],
    });
    expect(Number.isInteger(caller.verifiedAt)).toBe(true);
    expect(caller.verifiedAt - before).toBeGreaterThanOrEqual(0);
    expect(caller.verifiedAt - before).toBeLessThan(10);
  });

  it.each(['/api/v1/orders?b=2&a=1&b=%20', '/api/v1/a%2Fb', '/api/v1//x', '/api/v1'])(
    'verifies the whole target after sub-apps and routers: %s',
    async (target) => {
      const router = express.Router();
      router.use('/v1', machines.target.verify(), (req, res) => void res.json([req.url, req.originalUrl]));
      const sub = express();
      sub.use(router);
      const app = express();
      app.use('/api', sub);
      const { origin } = await serve(app);
      const response = await machines.controller.fetch(origin + target);
      expect(codes()).toEqual([]);
      expect(await response.json()).toEqual([expect.stringMatching(/^\/(?!api)/), target]);
    },
  );

  it('refuses a request whose url was rewritten before it', async () => {
    const app = express();
    app.use((req, _res, next) => {
      req.url = '/elsewhere';
      next();
    });
    app.use(machines.target.verify());
    app.get('/elsewhere', (req, res) => void res.end(req.originalUrl));
    const { origin } = await serve(app);
    expect((await machines.controller.fetch(`${origin}/here`)).status).toBe(401);
    expect(codes()).toEqual(['invalid_signature']);
  });

  it.each([
    '//api/orders',
    '/api//orders',
    '/x/../api/orders',
    '/api/./orders',
    '/%61pi/orders',
    '/api%2Forders',
    '/API/orders',
    '/Api/Orders',
    '/api/orders/',
    '/api;x/orders',
    '\\api\\orders',
    '/api\\orders',
    'http://127.0.0.1/api/orders',
    '*',
  ])('path-confusion: no unsigned request gets past the mount path: %s', async (target) => {
    let reached = 0;
    const app = express();
    app.use('/api', machines.target.verify());
    app.get('/api/orders', (_req, res) => {
      reached++;
      res.end();
    });
    const { port, authority } = await serve(app);
    const response = await exchange(port, head(`GET ${target} HTTP/1.1`, [`Host: ${authority}`]));
    expect([400, 401, 404]).toContain(response.status);
    expect(reached).toBe(0);
  });

  it.each(['GET', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH'])('verifies %s', async (method) => {
    const app = express();
    app.use(machines.target.verify());
    app.use((req, res) => void res.setHeader('x-method', req.method).end());
    const { origin, port, authority } = await serve(app);
    const response = await machines.controller.fetch(origin, { method });
    expect(response.status).toBe(200);
    expect(response.headers.get('x-method')).toBe(method);
    const unsigned = await exchange(port, head(`${method} / HTTP/1.1`, [`Host: ${authority}`]));
    expect(unsigned.status).toBe(401);
    expect(unsigned.headers['www-authenticate']).toBe('AuthMesh error="unauthorized"');
    expect(unsigned.body).toBe(method === 'HEAD' ? '' : '{"error":"unauthorized"}');
  });

  describe('behind a proxy', () => {
    /** Signed for the outside, sent with what the proxy makes of it. */
    async function viaProxy(
      app: Express,
      options: { signed?: string; sent?: string; forwarded?: string; host?: string } = {},
    ) {
      const { signed = '/orders', forwarded = 'api.example.com', host = 'internal:3000' } = options;
      const { sent = signed } = options;
      const { port } = await serve(app);
      const request = { target: signed };
      const { headers } = await signedRaw(machines.signer, 'api.example.com', request);
      const [, ...others] = headers;
      const lines = [
        `Host: ${host}`,
        ...others,
        ...(forwarded === '' ? [] : [`X-Forwarded-Host: ${forwarded}`]),
      ];
      return exchange(port, head(`GET ${sent} HTTP/1.1`, lines));
    }

    function appWith(options: Parameters<Amesh['verify']>[0], trust?: unknown) {
      const app = express();
      if (trust !== undefined) app.set('trust proxy', trust);
      app.use(machines.target.verify(options));
      app.use((_req, res) => void res.end('in'));
      return app;
    }
    const hosts = ['api.example.com'];

    it.each([
      ['true', true],
      ['a function that trusts it', (address: string) => address === '127.0.0.1'],
      ['a hop count', 1],
      ['loopback', 'loopback'],
    ])('trusts X-Forwarded-Host if trust proxy is %s', async (_name, trust) => {
      expect((await viaProxy(appWith({ hosts }, trust))).body).toBe('in');
    });

    it.each([
      ['not set', undefined],
      ['false', false],
      ['a function that does not trust it', () => false],
      ['another subnet', '10.0.0.0/8'],
      ['no hops', 0],
    ])('untrusted-forwarded-host: ignores it if trust proxy is %s', async (_name, trust) => {
      const response = await viaProxy(appWith({ hosts }, trust));
      expect(response.status).toBe(421);
      expect(response.body).toBe('{"error":"wrong_host"}');
      expect(codes()).toEqual(['wrong_host']);
      expect(machines.refusals[0]?.fix).toBe(
        "If a proxy put it in: verify({ authority: 'api.example.com' }). If callers use it: add it to verify({ hosts }) or AMESH_HOSTS, now api.example.com",
      );
    });

    it('trusts it in a sub-app if the outer app does', async () => {
      const app = express();
      app.set('trust proxy', true);
      app.use('/api', appWith({ hosts }));
      expect((await viaProxy(app, { signed: '/api/orders' })).body).toBe('in');
    });

    it('trusts it with the option trustForwardedHost', async () => {
      expect((await viaProxy(appWith({ hosts, trustForwardedHost: true }))).body).toBe('in');
    });

    it('uses the left-most of several values, as Express does', async () => {
      const forwarded = 'api.example.com, inner.example.com';
      expect((await viaProxy(appWith({ hosts }, true), { forwarded })).body).toBe('in');
    });

    it('uses Host if the proxy sends no X-Forwarded-Host', async () => {
      const app = appWith({ hosts }, true);
      expect((await viaProxy(app, { forwarded: '', host: 'api.example.com' })).body).toBe('in');
    });

    it('forwarded-host-injection: refuses a value that is not a host', async () => {
      const response = await viaProxy(appWith({ hosts }, true), { forwarded: 'api.example.com/x' });
      expect(response.status).toBe(400);
      expect(codes()).toEqual(['malformed_header']);
    });

    it('forwarded-host-injection: refuses a host that is not ours', async () => {
      const response = await viaProxy(appWith({ hosts }, true), { forwarded: 'evil.example.com' });
      expect(response.status).toBe(421);
      expect(codes()).toEqual(['wrong_host']);
    });

    it('authority replaces Host', async () => {
      expect((await viaProxy(appWith({ authority: 'api.example.com' }), { forwarded: '' })).body).toBe('in');
      await server?.close();
      // Also of what a client says of itself.
      const app = appWith({ authority: 'api.example.com' }, true);
      expect((await viaProxy(app, { forwarded: 'evil.example.com' })).body).toBe('in');
    });

    it('pathPrefix is prepended to the path', async () => {
      const options = { authority: 'api.example.com', pathPrefix: '/v1' };
      expect((await viaProxy(appWith(options), { signed: '/v1/orders?a=1', sent: '/orders?a=1' })).body).toBe(
        'in',
      );
      await server?.close();
      const response = await viaProxy(appWith(options), { signed: '/orders', sent: '/orders' });
      expect(response.status).toBe(401);
      expect(codes()).toEqual(['invalid_signature']);
      expect(machines.refusals[0]?.request).toMatchObject({
        authority: 'api.example.com',
        target: '/v1/orders',
        covered: ['@method', '@authority', '@path', '@query'],
      });
    });
  });

  describe('caches', () => {
    async function headersOf(...handlers: (RequestHandler | undefined)[]) {
      const app = express();
      const [before, after] = handlers;
      if (before) app.use(before);
      app.use(machines.target.verify());
      if (after) app.use(after);
      app.use((_req, res) => void res.end());
      const { origin } = await serve(app);
      const { headers } = await machines.controller.fetch(origin);
      return { cacheControl: headers.get('cache-control'), vary: headers.get('vary') };
    }
    const set =
      (name: string, value: string | string[]): RequestHandler =>
      (_req, res, next) => {
        res.setHeader(name, value);
        next();
      };
    const VARY = 'Authorization, Signature-Input';

    it('accepted responses are private and vary with the signature', async () => {
      expect(await headersOf()).toEqual({ cacheControl: 'private', vary: VARY });
    });
    it('Vary is added to an existing Vary', async () => {
      expect((await headersOf(set('Vary', 'Accept-Encoding, authorization'))).vary).toBe(
        'Accept-Encoding, authorization, Signature-Input',
      );
      await server?.close();
      expect((await headersOf(set('Vary', ['Accept', 'Origin']))).vary).toBe(`Accept, Origin, ${VARY}`);
      await server?.close();
      expect((await headersOf(set('Vary', '*'))).vary).toBe('*');
      await server?.close();
      expect((await headersOf(set('Vary', ''))).vary).toBe(VARY);
    });
    it('a directive that is stricter than private stays', async () => {
      expect((await headersOf(set('Cache-Control', 'no-store'))).cacheControl).toBe('no-store');
      await server?.close();
      expect((await headersOf(set('Cache-Control', 'private, max-age=5'))).cacheControl).toBe(
        'private, max-age=5',
      );
      await server?.close();
      expect((await headersOf(set('Cache-Control', 'public, max-age=5'))).cacheControl).toBe('private');
    });
    it('private for single fields is not enough', async () => {
      const before = set('Cache-Control', 'public, max-age=5, private="set-cookie"');
      expect((await headersOf(before)).cacheControl).toBe('private');
    });
    it('the handler may set something else', async () => {
      const after = set('Cache-Control', 'public, max-age=60');
      expect((await headersOf(undefined, after)).cacheControl).toBe('public, max-age=60');
    });
  });

  it('leaves a response alone that somebody has sent in the meantime', async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown) => void unhandled.push(reason);
    process.on('unhandledRejection', onUnhandled);
    let answer = true;
    const slow = { claim: () => sleep(50, answer) };
    const app = express();
    app.use((_req, res, next) => {
      setTimeout(() => res.status(504).end('late'), 10);
      next();
    });
    app.use(machines.target.verify({ nonceStore: slow }), () => {});
    const { origin } = await serve(app);
    expect((await machines.controller.fetch(origin)).status).toBe(504);
    await sleep(100);
    answer = false;
    expect((await machines.controller.fetch(origin)).status).toBe(504);
    await sleep(100);
    process.off('unhandledRejection', onUnhandled);
    expect(unhandled).toEqual([]);
  });

  it('passes errors that are not refusals to next()', async () => {
    const app = express();
    app.use(machines.target.verify());
    app.use((_req, _res) => {
      throw new Error('the handler');
    });
    app.use(
      (
        error: Error,
        _req: unknown,
        res: { status(code: number): { end(t: string): void } },
        _next: unknown,
      ) => {
        res.status(418).end(error.message);
      },
    );
    const { origin } = await serve(app);
    const response = await machines.controller.fetch(origin);
    expect([response.status, await response.text()]).toEqual([418, 'the handler']);
  });
});

describe('without Express', () => {
  it('verifies in front of a handler of node:http', async () => {
    const verify = machines.target.verify();
    const { origin } = await serve(
      createServer((req, res) =>
        verify(req, res, async () => {
          const caller = (req as typeof req & { authMesh: { friendlyName: string } }).authMesh;
          res.end(`${caller.friendlyName} ${Buffer.concat(await req.toArray())}`);
        }),
      ),
    );
    const response = await machines.controller.fetch(`${origin}/a?b`, { method: 'PUT', body: 'grüße' });
    expect(await response.text()).toBe('controller grüße');
    expect((await fetch(origin)).status).toBe(401);
  });

  it('says which entry to use if it is mounted in Hono', async () => {
    const errors: Error[] = [];
    const app = new Hono();
    app.use(machines.target.verify() as never);
    app.onError((error, c) => {
      errors.push(error);
      return c.text('failed', 500);
    });
    const response = await app.request('http://localhost/orders');
    expect([response.status, errors[0]?.message]).toEqual([
      500,
      'verify() needs a Node request. For Fastify, use @authmesh/sdk/fastify. For Hono, use @authmesh/sdk/hono. For others, see docs/frameworks.md.',
    ]);
  });

  it('says that it needs next(), and accepts nothing without it', async () => {
    const verify = machines.target.verify() as unknown as (...args: unknown[]) => void;
    const failures: unknown[] = [];
    const { origin } = await serve((req, res) => {
      try {
        verify(req, res);
      } catch (error) {
        failures.push(error);
        res.writeHead(500).end();
      }
    });
    const client = machines.controllerWith({ answers: 'off' });
    expect((await client.fetch(`${origin}/orders`)).status).toBe(500);
    expect(failures).toEqual([
      new TypeError('verify() needs a third argument: verify(request, response, next).'),
    ]);
  });

  it('verifies in a stack like Connect, which shortens url and keeps originalUrl', async () => {
    type Request = Parameters<Parameters<typeof createServer>[1] & object>[0] & { originalUrl?: string };
    const verify = machines.target.verify();
    const { origin } = await serve(
      createServer((req: Request, res) => {
        req.originalUrl = req.url as string;
        req.url = (req.url as string).replace('/api', '');
        verify(req, res, (error) => res.end(error ? 'error' : req.url));
      }),
    );
    expect(await (await machines.controller.fetch(`${origin}/api/orders?a`)).text()).toBe('/orders?a');
  });

  it('trusts X-Forwarded-Host only with the option', async () => {
    for (const trustForwardedHost of [false, true]) {
      const verify = machines.target.verify({ hosts: ['api.example.com'], trustForwardedHost });
      const { port } = await serve((req, res) => verify(req, res, () => void res.end('in')));
      const { line, headers } = await signedRaw(machines.signer, 'api.example.com');
      const lines = ['Host: internal', ...headers.slice(1), 'X-Forwarded-Host: api.example.com'];
      expect((await exchange(port, head(line, lines))).status).toBe(trustForwardedHost ? 200 : 421);
      await server?.close();
    }
  });
});

describe('a verifier that fails', () => {
  let hasTime = true;
  const verifier = createVerifier({
    allowList: {},
    nonceStore: new InMemoryNonceStore(),
    now() {
      if (!hasTime) throw new Error('There is no time.');
      return Date.now();
    },
  });
  const verify = verifyExpress({ amesh: { verifier: () => verifier } });
  hasTime = false;

  it('accepts nobody without Express either, even if a callback cannot accept an error', async () => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { origin } = await serve((req, res) => verify(req, res, () => void res.end('in')));
    const response = await machines.controller.fetch(origin, { method: 'POST', body: 'x' });
    expect([response.status, await response.text()]).toEqual([500, '']);
    expect(callsOf(logged)).toEqual([
      ['amesh: a request could not be verified', expect.objectContaining({ message: 'There is no time.' })],
    ]);
    logged.mockRestore();
  });

  it.each(frameworks)('is an error for $name', async ({ express }) => {
    const app = express();
    app.use(verify as RequestHandler, (_req, res) => void res.end('in'));
    const handler: ErrorRequestHandler = (error, _req, res, _next) => res.status(500).end(error.message);
    app.use(handler);
    const response = await machines.controller.fetch((await serve(app)).origin);
    expect([response.status, await response.text()]).toEqual([500, 'There is no time.']);
  });
});

describe('in production', () => {
  it('says once that nonces are stored in memory', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const env = { NODE_ENV: 'production' };
    machines.targetWith({ env, nonceStore: new InMemoryNonceStore() }).verify();
    machines.targetWith({ env }).verify({ nonceStore: new InMemoryNonceStore() });
    machines.targetWith({}).verify();
    expect(warn).not.toHaveBeenCalled();
    const instance = machines.targetWith({ env });
    instance.verify();
    instance.verify({ maxBodyBytes: 5 });
    machines.targetWith({ env }).verify();
    expect(callsOf(warn)).toEqual([
      [expect.stringMatching(/^amesh: Using in-memory nonce store\. .* see docs\/production\.md\.$/)],
    ]);
    warn.mockRestore();
  });
});

describe('hosts of an instance', () => {
  it('stay if an option of verify() is undefined', async () => {
    const machines = await createMachines();
    const verify = machines.targetWith({ hosts: ['api.example.com'] }).verify({ hosts: undefined });
    const server = await listen((req, res) => verify(req, res, () => void res.end('in')));
    expect((await machines.controller.fetch(server.origin)).status).toBe(421);
    await server.close();
    await machines.remove();
  });
});
