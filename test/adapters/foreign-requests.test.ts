import { streamUnverifiedBody } from '@authmesh/sdk';
import { signRequest, type Verifier } from '@authmesh/sdk/core';
import { verify } from '@authmesh/sdk/hono';
import { type AuthenticatedRequest, createServerVerifier, withAmesh } from '@authmesh/sdk/workers';
import { Hono } from 'hono';
import { beforeAll, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { exchange, head } from '../support/raw-http';
import { requireRuntime, startServer } from '../support/runtime-server';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';

const machines = usePair();
const URL_SIGNED = 'https://api.example.com/orders/7?x=1';

/** A framework's request, as Next.js has it: its own state is in private fields, which no other object gets at. */
class FrameworkRequest extends Request {
  readonly #parsed = { pathname: '/orders/7' };
  readonly #native: { readonly url: string };
  readonly #cookies = new Map([['session', 'abc']]);
  ip = '192.0.2.1';
  readonly geo = { city: 'Bern' };

  constructor(request: Request) {
    super(request);
    this.#native = { url: request.url };
  }
  override get url() {
    return this.#native.url;
  }
  get nextUrl() {
    return this.#parsed;
  }
  get cookies() {
    return this.#cookies;
  }
  waitUntil(promise: Promise<unknown>) {
    return [this.#parsed.pathname, promise];
  }
}

/** What a route gets in Next.js: methods are called on the request itself, since a Proxy has no private fields. */
function proxied<R extends Request>(request: R): R {
  return new Proxy(request, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

type Made = (request: Request) => Request;
const kinds: Record<string, Made> = {
  'a Request': (request) => request,
  'a subclass with private fields': (request) => new FrameworkRequest(request),
  'a Proxy over a Request': (request) => proxied(request),
  'a Proxy over a subclass with private fields': (request) => proxied(new FrameworkRequest(request)),
  'a Proxy that native code cannot see through': (request) => opaque(new FrameworkRequest(request)),
  'an object that only looks like a Request': (request) => lookalike(request),
};

/** As on Node 24, where even what Node itself keeps of a request is in private fields. */
function opaque<R extends Request>(request: R): R {
  return new Proxy(request, {
    get(target, name) {
      if (typeof name === 'symbol') throw new TypeError('Cannot read private member from an object.');
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** As a polyfill or another realm has it: no class of ours, and a signal of its own class. */
function lookalike(request: Request): Request {
  const { url, method, redirect } = request;
  const signal = Object.assign(new EventTarget(), { aborted: false, reason: undefined });
  const like = {
    url,
    method,
    redirect,
    signal,
    headers: {
      get: (name: string) => request.headers.get(name),
      [Symbol.iterator]: () => request.headers.entries(),
    },
    get body() {
      return request.body;
    },
    get bodyUsed() {
      return request.bodyUsed;
    },
    clone: () => lookalike(request.clone()),
    text: () => request.text(),
    json: () => request.json(),
  };
  return like as unknown as Request;
}

async function signed(init: RequestInit = { method: 'POST', body: '{"amount":100}' }): Promise<Request> {
  return signRequest(new Request(URL_SIGNED, init), machines.signer);
}

it('gives the handler a body if the clone of a request is the request itself, as in @whatwg-node/fetch', async () => {
  const verifier = createServerVerifier({ amesh: machines.targetWith({ hosts: ['api.example.com'] }) });
  const request = await signed();
  const given = Object.defineProperties(lookalike(request), {
    clone: { value: () => request },
    bodyUsed: { value: false },
  });
  const verdict = await verifier.verify(given);
  expect(verdict).toMatchObject({ ok: true });
  if (!verdict.ok) return;
  expect(await verdict.request.json()).toEqual({ amount: 100 });
});

describe.each(Object.entries(kinds))('%s', (name, make) => {
  const isFramework = name.includes('subclass') || name.includes('native code');
  let verifier: Verifier;
  let streaming: Verifier;
  beforeAll(() => {
    const amesh = machines.targetWith({ hosts: ['api.example.com'] });
    verifier = createServerVerifier({ amesh });
    streaming = createServerVerifier({ amesh, [streamUnverifiedBody]: true });
  });

  function expectOwn(request: Request) {
    if (!isFramework) return;
    const own = request as FrameworkRequest;
    expect(own.nextUrl.pathname).toBe('/orders/7');
    expect(own.cookies.get('session')).toBe('abc');
    expect(own.ip).toBe('192.0.2.1');
    expect(own.geo).toEqual({ city: 'Bern' });
    expect(own.waitUntil(Promise.resolve())[0]).toBe('/orders/7');
  }

  it('with a body is the object that the handler gets, with its own properties', async () => {
    const given = make(await signed());
    const verdict = await verifier.verify(given);
    expect(verdict).toMatchObject({ ok: true });
    if (!verdict.ok) return;
    expect(verdict.request).toBe(given);
    expectOwn(verdict.request);
    expect(verdict.request.bodyUsed).toBe(false);
    expect(await verdict.request.json()).toEqual({ amount: 100 });
  });

  it('is recognised when it is verified again, and its body can then be read again', async () => {
    const given = make(await signed());
    expect(await verifier.verify(given)).toMatchObject({ ok: true });
    expect(await given.json()).toEqual({ amount: 100 });
    const verdict = await verifier.verify(given);
    expect(verdict).toMatchObject({ ok: true });
    if (!verdict.ok) return;
    expectOwn(verdict.request);
    expect(await verdict.request.json()).toEqual({ amount: 100 });
  });

  it('with another body than the signed one is refused', async () => {
    const { headers } = await signed();
    const given = make(new Request(URL_SIGNED, { method: 'POST', headers, body: '{"amount":999}' }));
    expect(await verifier.verify(given)).toMatchObject({ ok: false, code: 'content_digest_mismatch' });
  });

  it('whose body was read already is refused', async () => {
    const given = make(await signed());
    await given.text();
    expect(await verifier.verify(given)).toMatchObject({ ok: false, code: 'body_parser_ordering_error' });
  });

  it('that is streamed has a body behind the gate, and its own properties', async () => {
    const verdict = await streaming.verify(make(await signed()));
    expect(verdict).toMatchObject({ ok: true });
    if (!verdict.ok) return;
    expectOwn(verdict.request);
    expect(await verdict.request.text()).toBe('{"amount":100}');
    const { headers } = await signed();
    const wrong = new Request(URL_SIGNED, { method: 'POST', headers, body: '{"amount":999}' });
    const gated = await streaming.verify(make(wrong));
    expect(gated).toMatchObject({ ok: true });
    if (gated.ok) await expect(gated.request.text()).rejects.toThrow();
  });

  it.each(['GET', 'POST'])('knows its caller behind withAmesh(): %s', async (method) => {
    const amesh = machines.targetWith({ hosts: ['api.example.com'] });
    const handler = withAmesh(
      async (request: AuthenticatedRequest) => {
        expectOwn(request);
        return Response.json({ by: request.authMesh.friendlyName, body: await request.text() });
      },
      { amesh },
    );
    const body = method === 'POST' ? 'hello' : null;
    const response = await handler(make(await signed({ method, body })));
    expect(await response.json()).toEqual({ by: 'controller', body: body ?? '' });
  });

  it('is the request of a Hono application in it', async () => {
    const amesh = machines.targetWith({ hosts: ['api.example.com'] });
    const app = new Hono().use(verify({ amesh }));
    app.post('*', async (c) => {
      expectOwn(c.req.raw);
      return c.json({ by: c.get('authMesh').friendlyName, body: await c.req.json() });
    });
    const response = await app.fetch(make(await signed()));
    expect(await response.json()).toEqual({ by: 'controller', body: { amount: 100 } });
  });

  it('is signed as it is', async () => {
    const bare = make(new Request(URL_SIGNED, { method: 'PUT', body: 'hello', headers: { 'x-a': 'b' } }));
    const sent = await signRequest(bare, machines.signer);
    expect(sent.url).toBe(URL_SIGNED);
    expect(sent.headers.get('x-a')).toBe('b');
    expect(await verifier.verify(sent)).toMatchObject({ ok: true });
    expect(await sent.text()).toBe('hello');
  });
});

describe('a response of the handler', () => {
  class FrameworkResponse extends Response {
    readonly #cookies = ['a'];
    get cookies() {
      return this.#cookies;
    }
  }
  const responses: Record<string, () => Response> = {
    'of a subclass': () => new FrameworkResponse('hello'),
    'that is a Proxy': () => proxied(new Response('hello') as never),
    'of another realm': () => {
      const { body, headers } = new Response('hello');
      return { status: 200, body, headers, text: () => new Response(body).text() } as unknown as Response;
    },
  };

  it.each(Object.entries(responses))('%s is returned itself, for no shared cache', async (name, respond) => {
    const amesh = machines.targetWith({ hosts: ['api.example.com'] });
    const response = await withAmesh(() => respond(), { amesh })(await signed({ method: 'GET' }));
    expect(response.headers.get('cache-control')).toBe('private');
    expect(response.headers.get('vary')).toBe('Authorization, Signature-Input');
    if (name === 'of a subclass') expect((response as FrameworkResponse).cookies).toEqual(['a']);
    expect(await response.text()).toBe('hello');
  });

  it('that is immutable is copied', async () => {
    const amesh = machines.targetWith({ hosts: ['api.example.com'] });
    const handler = withAmesh(() => Response.redirect('https://example.com/'), { amesh });
    const response = await handler(await signed({ method: 'GET' }));
    expect(response.status).toBe(302);
    expect(response.headers.get('cache-control')).toBe('private');
  });
});

const bun = await requireRuntime('bun');
it.skipIf(bun === null)(
  'a route of Bun has its params and cookies, and its server knows the request',
  async () => {
    if (bun === null) return;
    const server = await startServer(bun, 'test/adapters/servers/bun-routes.ts');
    const authority = `127.0.0.1:${server.port}`;
    const request = {
      method: 'POST',
      target: '/orders/7',
      body: 'hello',
      headers: { cookie: 'session=abc' },
    };
    const { line, headers } = await signedRaw(await signerOf('controller'), authority, request);
    const response = await exchange(server.port, head(line, [...headers, 'Content-Length: 5']), 'hello');
    expect(response.status).toBe(200);
    expect(response.headers['set-cookie']).toContain('seen=yes');
    expect(JSON.parse(response.body)).toEqual({
      id: '7',
      session: 'abc',
      address: '127.0.0.1',
      body: 'hello',
    });
    await server.close();
  },
);
