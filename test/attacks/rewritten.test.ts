import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { createServer as createHttp2Server, type Http2ServerRequest } from 'node:http2';
import { signRequest, toBase64Url } from '@authmesh/sdk/core';
import { authMesh } from '@authmesh/sdk/fastify';
import { verify as verifyHono } from '@authmesh/sdk/hono';
import { withAmesh } from '@authmesh/sdk/workers';
import { getRequestListener } from '@hono/node-server';
import type { Request, RequestHandler } from 'express';
import type { FastifyRequest } from 'fastify';
import { Hono, type MiddlewareHandler } from 'hono';
import { methodOverride } from 'hono/method-override';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fastifies, serve } from '../support/fastify';
import { frameworks } from '../support/frameworks';
import { latest } from '../support/full';
import { connectHttp2, http2Response } from '../support/http2';
import { listen } from '../support/listen';
import { exchange, head } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';

/**
 * Middleware that makes another request of the one that came, by a header that nobody has signed: in front of verify(), or
 * between two of them.
 */

const machines = usePair();
let reached: string[];
let close: (() => Promise<void>) | undefined;
beforeEach(() => {
  reached = [];
  close = undefined;
});
afterEach(() => close?.());

const SIGNED = {
  method: 'POST',
  target: '/public/x?a=1',
  headers: { 'content-type': 'text/plain' },
  body: 'abc',
};

/** Sends the signed request with further lines that are not signed. */
async function send(port: number, unsigned: readonly string[] = [], request: object = SIGNED, options = {}) {
  const { line, headers, body } = await signedRaw(machines.signer, `127.0.0.1:${port}`, request, options);
  return exchange(port, head(line, [...headers, `Content-Length: ${body.length}`, ...unsigned]), body);
}

function expectRefused(response: { status: number }, detail: RegExp) {
  expect(reached).toEqual([]);
  expect(response.status).toBe(401);
  expect(machines.refusals.map(({ code }) => code)).toEqual(['invalid_signature']);
  expect(machines.refusals[0]?.detail).toMatch(detail);
}
const FIX = /^Put verify\(\) before that, or see "pathPrefix"/;

/** The lines of a GET of /pay whose signature covers X-Amount, too. */
async function coveringAmount(authority: string): Promise<string[]> {
  const nonce = toBase64Url(randomBytes(16));
  const created = Math.floor(Date.now() / 1000);
  const covered = '("@method" "@authority" "@path" "@query" "x-amount")';
  const parameters = `${covered};created=${created};nonce="${nonce}";keyid="${machines.controllerId}";tag="amesh"`;
  const base = `"@method": GET\n"@authority": ${authority}\n"@path": /pay\n"@query": ?\n"x-amount": 1\n"@signature-params": ${parameters}`;
  const signature = Buffer.from(await machines.signer.sign(Buffer.from(base))).toString('base64');
  return [
    `Host: ${authority}`,
    'X-Amount: 1',
    `Signature-Input: s=${parameters}`,
    `Signature: s=:${signature}:`,
  ];
}

/** What middleware does to a request of Node, by the name of the part that it changes. */
const changes: Record<string, (request: Request) => void> = {
  'method, by X-HTTP-Method-Override': (request) => {
    request.method = 'DELETE';
  },
  'method, as method-override does it': (request) => {
    Object.assign(request, { originalMethod: request.method, method: 'DELETE' });
  },
  'URL, by X-Original-URL': (request) => {
    request.url = '/admin';
  },
  'URL, to the end of the signed one': (request) => {
    request.url = '/x?a=1';
  },
  'only query': (request) => {
    request.url = request.url.replace('a=1', 'a=2');
  },
  'URL and originalUrl': (request) => {
    Object.assign(request, { url: '/admin', originalUrl: '/admin' });
  },
  'only originalUrl': (request) => {
    request.originalUrl = '/admin';
  },
  'Content-Type in headers': (request) => {
    request.headers['content-type'] = 'application/json';
  },
  'Content-Type in rawHeaders': (request) => {
    request.rawHeaders[request.rawHeaders.indexOf('text/plain')] = 'application/json';
  },
  'Content-Encoding, added': (request) => {
    request.headers['content-encoding'] = 'gzip';
  },
  'AuthMesh-Key, added': (request) => {
    request.headers['authmesh-key'] = 'eyJhbGciOiJFUzI1NiJ9.e30.AA';
  },
  'Content-Digest in both': (request) => {
    const empty = 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:';
    const { rawHeaders } = request;
    rawHeaders[rawHeaders.findIndex((name) => /^content-digest$/i.test(name)) + 1] = empty;
    request.headers['content-digest'] = empty;
  },
  'Host in headers': (request) => {
    request.headers.host = 'localhost:1';
  },
};

describe.each(latest(frameworks))('$name', ({ express }) => {
  type Verify = RequestHandler;
  async function up(
    build: (verify: Verify, change: RequestHandler) => RequestHandler[],
    change: RequestHandler,
  ) {
    const app = express();
    app.use(...build(machines.target.verify() as Verify, change));
    app.use((request, response) => {
      reached.push(`${request.method} ${request.originalUrl} ${request.url}`);
      response.end('in');
    });
    const server = await listen(app);
    close = () => server.close();
    return server.port;
  }
  const changeBy =
    (change: (request: Request) => void): RequestHandler =>
    (request, _response, next) => {
      if (request.headers['x-change'] !== undefined) change(request);
      next();
    };

  it.each(Object.entries(changes))('between two verify(): the %s', async (_, change) => {
    const port = await up((verify, middle) => [verify, middle, verify], changeBy(change));
    expectRefused(await send(port, ['X-Change: 1']), /was changed/);
    expect(machines.refusals[0]?.fix).toMatch(FIX);
    machines.refusals.length = 0;
    expect((await send(port)).body).toBe('in');
    expect(machines.refusals).toEqual([]);
  });

  it.each(Object.entries(changes))('in front of verify(): the %s', async (_, change) => {
    const port = await up((verify, middle) => [middle, verify], changeBy(change));
    expectRefused(await send(port, ['X-Change: 1']), /was changed|does not match/);
    expect((await send(port)).body).toBe('in');
  });

  it('a field that this signature covers in addition', async () => {
    const change: RequestHandler = (request, _response, next) => {
      if (request.headers['x-change'] !== undefined) request.headers['x-amount'] = '1000000';
      next();
    };
    const port = await up((verify, middle) => [verify, middle, verify], change);
    const sendAmount = async (...unsigned: string[]) => {
      const lines = await coveringAmount(`127.0.0.1:${port}`);
      return exchange(port, head('GET /pay HTTP/1.1', [...lines, ...unsigned]));
    };
    expectRefused(await sendAmount('X-Change: 1'), /was changed/);
    expect((await sendAmount()).body).toBe('in');
  });

  it('a URL that is restored before the second verify() changes nothing', async () => {
    const twice: RequestHandler = (request, _response, next) => {
      const { url } = request;
      request.url = '/elsewhere';
      request.url = url;
      next();
    };
    const port = await up((verify, middle) => [verify, middle, verify], twice);
    expect((await send(port, ['X-Other: 1'])).body).toBe('in');
  });

  it('a header that nobody has signed may change', async () => {
    const add: RequestHandler = (request, _response, next) => {
      request.headers['x-request-id'] = '1';
      request.headers['user-agent'] = 'known';
      delete request.headers.accept;
      next();
    };
    const port = await up((verify, middle) => [middle, verify, middle, verify], add);
    expect(
      (await send(port, ['User-Agent: odd', 'Accept: a/b', 'Accept: c/d', 'Cookie: a', 'Cookie: b'])).body,
    ).toBe('in');
  });

  it('a prefix that a proxy removes is declared with pathPrefix', async () => {
    const app = express();
    app.use((request, _response, next) => {
      request.url = request.url.replace(/^\/v1\//, '/');
      next();
    });
    app.use('/strict', machines.target.verify());
    app.use(machines.target.verify({ pathPrefix: '/v1' }));
    app.use((request, response) => void response.end(request.url));
    const server = await listen(app);
    close = () => server.close();
    expect((await send(server.port, [], { target: '/v1/x?a' })).body).toBe('/x?a');
    expectRefused(
      await send(server.port, [], { target: '/v1/strict/x?a' }),
      /^The path or query was changed/,
    );
  });

  it.each([
    '/api',
    '/api/',
    '/api?x',
    '/api/?x',
    '/api//x',
    '/API/x?y',
    '/api/%78',
    '/api/v1',
    '/api/v1?x',
    '/api/v1//x',
    '/api.json',
  ])('the rest of a URL behind mounts is not a change: %s', async (target) => {
    const app = express();
    const verify = machines.target.verify() as Verify;
    const router = express.Router();
    router.use('/v1', verify);
    router.use(verify);
    app.use('/api/', verify);
    app.use('/api', express().use(router));
    app.use((_request, response) => void response.end('in'));
    const server = await listen(app);
    close = () => server.close();
    expect((await send(server.port, [], { target })).body).toBe('in');
    expect(machines.refusals).toEqual([]);
  });
});

describe('node:http, http2 and Connect', () => {
  it.each(Object.entries(changes).filter(([name]) => !/originalUrl|to the end/.test(name)))(
    'node:http, between two verify(): the %s',
    async (_, change) => {
      const verify = machines.target.verify();
      const server = await listen((request, response) =>
        verify(request, response, () => {
          change(request as Request);
          verify(request, response, () => {
            reached.push(`${request.method} ${request.url}`);
            response.end('in');
          });
        }),
      );
      close = () => server.close();
      expectRefused(await send(server.port), /was changed/);
    },
  );

  it('Connect, which does not say what a mount removed: a URL with another ending', async () => {
    const verify = machines.target.verify();
    const server = await listen((request, response) => {
      Object.assign(request, { originalUrl: request.url, url: request.headers['x-url'] ?? '/x?a=1' });
      verify(request, response, () => {
        reached.push(String(request.url));
        response.end('in');
      });
    });
    close = () => server.close();
    expectRefused(await send(server.port, ['X-URL: /admin']), /^The path or query was changed/);
    expect((await send(server.port)).body).toBe('in');
  });
});

describe('HTTP/2', () => {
  it.each<[string, (request: Http2ServerRequest) => void]>([
    ['method', (request) => void Object.assign(request, { method: 'DELETE' })],
    ['URL', (request) => void Object.assign(request, { url: '/admin' })],
    [
      'Content-Type',
      (request) => void Object.assign(request.headers, { 'content-type': 'application/json' }),
    ],
    [':authority', (request) => void Object.assign(request.headers, { ':authority': 'localhost:1' })],
    ['Host, which is added', (request) => void Object.assign(request.headers, { host: 'localhost:1' })],
  ])('between two verify(): the %s', async (name, change) => {
    const verify = machines.target.verify();
    const server = createHttp2Server((request, response) =>
      verify(request, response, () => {
        if (request.headers['x-change'] !== undefined) change(request);
        request.headers.host ??= request.authority; // as some do who bring Express to HTTP/2
        verify(request, response, () => {
          reached.push(request.method);
          response.end('in');
        });
      }),
    );
    const pair = await connectHttp2(server);
    close = () => pair.close();
    const sendTwo = async (unsigned: object) => {
      const { method, target, headers, body } = SIGNED;
      const authority = `127.0.0.1:${pair.port}`;
      const view = { method, target, authority, headers, body: Buffer.from(body) };
      const signed = await signRequest(view, machines.signer);
      const line = { ':method': method, ':path': target, ':authority': authority };
      const stream = pair.session.request({ ...line, ...signed.headers, ...unsigned } as never);
      stream.end(body);
      return http2Response(stream);
    };
    expect((await sendTwo({ 'x-change': '1' })).status).not.toBe(200);
    expect(machines.refusals.map(({ code }) => code)).toEqual([
      /authority/.test(name) ? 'wrong_host' : /Host/.test(name) ? 'malformed_header' : 'invalid_signature',
    ]);
    expect(reached).toEqual([]);
    expect((await sendTwo({})).body).toBe('in');
  });
});

describe.each(latest(fastifies))('$name', ({ fastify }) => {
  async function up(hook: (request: FastifyRequest) => void, options: object = {}, more: object = {}) {
    const app = fastify(options);
    const register = () => app.register(authMesh, { amesh: machines.target, ...more });
    if (!('rewriteUrl' in options)) await register();
    app.addHook('onRequest', async (request) => {
      if (request.headers['x-change'] !== undefined) hook(request);
    });
    await register();
    app.all('/*', async (request) => {
      reached.push(`${request.method} ${request.url}`);
      return 'in';
    });
    const { port } = await serve(app);
    close = () => app.close();
    return port;
  }

  it.each<[string, (request: FastifyRequest) => void]>([
    ['method', ({ raw }) => void Object.assign(raw, { method: 'DELETE' })],
    ['URL', ({ raw }) => void Object.assign(raw, { url: '/admin' })],
    [
      'URL, next to originalUrl',
      ({ raw }) => void Object.assign(raw, { originalUrl: raw.url, url: '/x?a=1' }),
    ],
    [
      'Content-Type, on the raw request',
      ({ raw }) => void Object.assign(raw.headers, { 'content-type': 'application/json' }),
    ],
    [
      "Content-Type, on Fastify's request",
      (request) => void Object.assign(request, { headers: { 'content-type': 'application/json' } }),
    ],
  ])('between two registrations: the %s', async (_, change) => {
    const port = await up(change);
    expectRefused(await send(port, ['X-Change: 1']), /was changed/);
    expect((await send(port)).body).toBe('in');
  });

  it('rewriteUrl by a header that nobody has signed', async () => {
    const rewriteUrl = ({ headers, url }: { headers: IncomingHttpHeaders; url?: string }) =>
      String(headers['x-original-url'] ?? url);
    const port = await up(() => {}, { rewriteUrl });
    expectRefused(await send(port, ['X-Original-URL: /admin']), /^The path or query was changed/);
    machines.refusals.length = 0;
    expectRefused(await send(port, ['X-Original-URL: /x?a=1']), /^The path or query was changed/);
    expect((await send(port)).body).toBe('in');
  });

  it('a rewriteUrl that removes a prefix is declared with pathPrefix', async () => {
    const rewriteUrl = ({ url = '' }) => url.replace(/^\/public/, '');
    const port = await up(() => {}, { rewriteUrl }, { pathPrefix: '/public' });
    expect((await send(port)).body).toBe('in');
    expect(reached).toEqual(['POST /x?a=1']);
    reached.length = 0;
    // What nothing was taken off is another path with the prefix in front of it, as behind a proxy.
    expect((await send(port, [], { target: '/admin' })).status).toBe(401);
    expect(reached).toEqual([]);
  });
});

describe('Hono', () => {
  /** Another `Request` in the place of the one that came, as a wrapper or middleware makes it. */
  const made: Record<string, (request: globalThis.Request) => globalThis.Request> = {
    method: (request) => new Request(request, { method: 'DELETE' }),
    'URL, by X-Original-URL': (request) => new Request(new URL('/admin', request.url), request),
    query: (request) => new Request(request.url.replace('a=1', 'a=2'), request),
    'Content-Type': (request) =>
      new Request(request, { headers: [...request.headers, ['content-type', 'application/json']] }),
  };
  const verify = () => verifyHono({ amesh: machines.target });
  const answer = (app: Hono) =>
    app.all('*', (c) => {
      reached.push(`${c.req.method} ${c.req.path}`);
      return c.text('in');
    });

  it.each(Object.entries(made))('a wrapper that passes on what Node has, and another %s', async (_, make) => {
    const app = answer(new Hono().use(verify()) as Hono);
    const server = await listen(
      getRequestListener((request, env) =>
        app.fetch(request.headers.has('x-change') ? make(request as globalThis.Request) : request, env),
      ),
    );
    close = () => server.close();
    expectRefused(await send(server.port, ['X-Change: 1']), /was changed/);
    expect((await send(server.port)).body).toBe('in');
  });

  it.each(Object.entries(made))('between two verify(): another %s', async (_, make) => {
    const middle: MiddlewareHandler = async (c, next) => {
      if (c.req.header('x-change') !== undefined) c.req.raw = make(c.req.raw);
      await next();
    };
    const app = answer(new Hono().use(verify(), middle, verify()) as Hono);
    const server = await listen(getRequestListener(app.fetch));
    close = () => server.close();
    expectRefused(await send(server.port, ['X-Change: 1']), /was changed/);
    expect((await send(server.port)).body).toBe('in');
  });

  it.each(Object.entries(made))(
    'on a runtime that has only a Request, between two: another %s',
    async (_, make) => {
      const middle: MiddlewareHandler = async (c, next) => {
        if (c.req.header('x-change') !== undefined) c.req.raw = make(c.req.raw);
        await next();
      };
      const verify = () => verifyHono({ amesh: machines.target, hosts: ['localhost:1'] });
      const app = answer(new Hono().use(verify(), middle, verify()) as Hono);
      expect((await app.fetch(await signedRequest({ 'x-change': '1' }))).status).toBe(401);
      expect(reached).toEqual([]);
      expect(await (await app.fetch(await signedRequest())).text()).toBe('in');
    },
  );

  it('its own method override', async () => {
    const app = new Hono();
    app.use(verify(), methodOverride({ app, header: 'x-http-method-override' }));
    answer(app);
    const server = await listen(getRequestListener(app.fetch));
    close = () => server.close();
    expectRefused(await send(server.port, ['X-HTTP-Method-Override: DELETE']), /^The method was changed/);
    expect((await send(server.port)).body).toBe('in');
  });
});

/** The signed request as a `Request`, with headers that are not signed. */
async function signedRequest(unsigned: Record<string, string> = {}): Promise<globalThis.Request> {
  const { method, target, headers, body } = SIGNED;
  const view = { method, target, authority: 'localhost:1', headers, body: Buffer.from(body) };
  const signed = await signRequest(view, machines.signer);
  const all = { ...(signed.headers as Record<string, string>), ...unsigned };
  return new Request(`http://localhost:1${target}`, { method, headers: all, body });
}

describe('a fetch handler in another one', () => {
  const settings = () => ({ amesh: machines.target, hosts: ['localhost:1'] });
  async function call(
    make: (request: globalThis.Request) => globalThis.Request | Promise<globalThis.Request>,
  ) {
    const inner = withAmesh(async (request) => {
      reached.push(request.method);
      return new Response(await request.text());
    }, settings);
    const outer = withAmesh(async (request) => inner(await make(request)), settings);
    return outer(await signedRequest());
  }
  const codes = () => machines.refusals.map(({ code }) => code);

  it('accepts the request that it was given', async () => {
    expect(await (await call((request) => request)).text()).toBe('abc');
  });

  it('refuses another method, another URL, and another type', async () => {
    for (const make of [
      (request: globalThis.Request) => new Request(request, { method: 'DELETE' }),
      (request: globalThis.Request) => new Request('http://localhost:1/admin', request),
      (request: globalThis.Request) => {
        request.headers.set('content-type', 'application/json');
        return request;
      },
    ])
      expect((await call(make)).status).toBe(401);
    expect(codes()).toEqual(['invalid_signature', 'invalid_signature', 'invalid_signature']);
    expect(reached).toEqual([]);
  });

  it('treats a copy that somebody has made as a replay', async () => {
    expect((await call((request) => new Request(request))).status).toBe(401);
    expect(codes()).toEqual(['replay_detected']);
  });
});
