import { once } from 'node:events';
import { createServer as createHttp2Server } from 'node:http2';
import { verify } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { HTTPException } from 'hono/http-exception';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { connectHttp2, http2Exchange } from '../support/http2';
import { type Listening, listen } from '../support/listen';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';

const machines = usePair();

const codes = () => machines.refusals.map(({ code }) => code);
const serve = (app: Hono, pass = app.fetch) => listen(getRequestListener(pass as typeof app.fetch));

/** What may have touched the body before verify(), and whether its bytes can still be had. */
const touches: Record<string, { touch: (c: Context) => unknown; isLost?: boolean }> = {
  nobody: { touch: () => {} },
  'c.req.json()': { touch: (c) => c.req.json() },
  'c.req.text()': { touch: (c) => c.req.text() },
  'c.req.arrayBuffer()': { touch: (c) => c.req.arrayBuffer() },
  'c.req.blob()': { touch: (c) => c.req.blob() },
  'c.req.raw.clone()': { touch: (c) => c.req.raw.clone().text() },
  'c.req.raw.body, unread': { touch: (c) => void c.req.raw.body },
  'c.req.raw.text()': { touch: (c) => c.req.raw.text(), isLost: true },
  'c.req.formData()': { touch: (c) => c.req.formData().catch(() => {}), isLost: true },
};

describe('after middleware that has touched the body', () => {
  const text = '{"grüße":"☃ 😀"}';
  let server: Listening;

  beforeAll(async () => {
    const app = new Hono();
    const protect = verify({ amesh: machines.target });
    const names = Object.keys(touches);
    for (const name of names) {
      const before: MiddlewareHandler = async (c, next) => {
        await touches[name]?.touch(c);
        await next();
      };
      app.post(`/${names.indexOf(name)}/hono`, before, protect, async (c) => c.text(await c.req.text()));
      app.post(`/${names.indexOf(name)}/raw`, before, protect, async (c) =>
        c.text(new TextDecoder().decode(await c.req.raw.clone().arrayBuffer())),
      );
    }
    server = await serve(app);
  });
  afterAll(() => server.close());

  const cases = Object.keys(touches).flatMap((name) => ['hono', 'raw'].map((reader) => ({ name, reader })));
  it.each(cases)('$name, read as $reader', async ({ name, reader }) => {
    const path = `/${Object.keys(touches).indexOf(name)}/${reader}`;
    const response = await machines.controller.fetch(server.origin + path, { method: 'POST', body: text });
    if (touches[name]?.isLost) {
      expect(codes()).toEqual(['body_parser_ordering_error']);
      expect(machines.refusals[0]?.fix).toBe('Put verify() before whatever reads the body.');
      expect(response.status).toBe(500);
      return;
    }
    expect(codes()).toEqual([]);
    expect(await response.text()).toBe(text);
  });

  it('a text that does not give the bytes back does not count as a body', async () => {
    const path = `/${Object.keys(touches).indexOf('c.req.text()')}/hono`;
    const init = { method: 'POST', body: Uint8Array.of(0xef, 0xbb, 0xbf, 0x61) };
    const response = await machines.controller.fetch(server.origin + path, init);
    expect(response.status).toBe(500);
    expect(codes()).toEqual(['body_parser_ordering_error']);
  });
});

describe('in an application', () => {
  let server: Listening;

  beforeAll(async () => {
    const inner = new Hono().use(verify({ amesh: machines.target }));
    inner.all('/*', async (c) => c.json({ by: c.get('authMesh').friendlyName, body: await c.req.text() }));
    const app = new Hono();
    app.use('/cors/*', cors({ origin: 'https://example.com' }));
    app.use('/cors/*', verify({ amesh: machines.target, maxBodyBytes: 10 }));
    app.all('/cors/*', (c) => c.text(c.get('authMesh').deviceId));
    app.use('/own/*', verify({ amesh: machines.target }));
    app.all('/own/*', () => new Response('own', { headers: { vary: 'Accept' } }));
    app.use('/next/*', verify({ amesh: machines.target }));
    app.all('/next/*', () => {
      throw new Error('of the handler');
    });
    app.onError((error, c) =>
      error instanceof HTTPException ? error.getResponse() : c.text('handled', 418),
    );
    app.use('/stored/*', async (c, next) => {
      c.header('Cache-Control', 'no-store');
      await next();
    });
    app.use('/stored/*', verify({ amesh: machines.target }), verify({ amesh: machines.target }));
    app.get('/stored/never', (c) => c.text('x'));
    app.mount('/mounted', inner.fetch);
    server = await serve(app);
  });
  afterAll(() => server.close());

  it('on Node, a mounted application sees what was signed', async () => {
    const init = { method: 'POST', body: 'abc' };
    const response = await machines.controller.fetch(`${server.origin}/mounted/x?y=1`, init);
    expect(codes()).toEqual([]);
    expect(await response.json()).toEqual({ by: 'controller', body: 'abc' });
  });

  it('a refusal has the headers of the middleware before it', async () => {
    const response = await fetch(`${server.origin}/cors/x`, { headers: { origin: 'https://example.com' } });
    expect(response.status).toBe(401);
    expect(response.headers.get('access-control-allow-origin')).toBe('https://example.com');
    expect(response.headers.get('www-authenticate')).toBe('AuthMesh error="unauthorized"');
  });

  it('a Response of the handler is not for a shared cache either', async () => {
    const response = await machines.controller.fetch(`${server.origin}/own/x`);
    expect(response.headers.get('cache-control')).toBe('private');
    expect(response.headers.get('vary')).toBe('Accept, Authorization, Signature-Input');
  });

  it('a no-store of earlier middleware stays, and an outer verify() marks a response once', async () => {
    const response = await machines.controller.fetch(`${server.origin}/stored/never`);
    expect(response.headers.get('cache-control')).toBe('no-store, private');
    expect(response.headers.get('vary')).toBe('Authorization, Signature-Input');
  });

  it('errors of handlers are passed on', async () => {
    const response = await machines.controller.fetch(`${server.origin}/next/x`);
    expect(response.status).toBe(418);
    expect(await response.text()).toBe('handled');
  });

  it('closes the connection after a refusal that leaves a body unread', async () => {
    const client = await RawClient.connect(server.port);
    const host = `Host: ${server.authority}`;
    client.write(head('POST /cors/x HTTP/1.1', [host, 'Content-Length: 10']), '12345');
    const response = await client.response();
    expect(response.status).toBe(401);
    expect(response.headers.connection).toBe('close');
    client.write('67890');
    await client.closed();
    expect(client.error).toBeUndefined();
  });

  it.each([[], ['Content-Length: 0']])('and keeps it where there is none: %s', async (...lines) => {
    const client = await RawClient.connect(server.port);
    for (let i = 0; i < 2; i++) {
      client.write(head('POST /cors/x HTTP/1.1', [`Host: ${server.authority}`, ...lines]));
      expect((await client.response()).status).toBe(401);
    }
    client.destroy();
  });

  it('refuses a second line of a signed header', async () => {
    const { line, headers } = await signedRaw(machines.signer, server.authority, {
      target: '/own/x',
      headers: { 'content-type': 'text/plain' },
    });
    const response = await exchange(server.port, head(line, [...headers, 'Content-Type: text/html']));
    expect(response.status).toBe(400);
    expect(codes()).toEqual(['malformed_header']);
  });

  it('refuses trailers, which nobody has signed', async () => {
    const request = { method: 'POST', target: '/own/x', body: 'abc' };
    const { line, headers } = await signedRaw(machines.signer, server.authority, request);
    const body = '3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n';
    const response = await exchange(
      server.port,
      head(line, [...headers, 'Transfer-Encoding: chunked']),
      body,
    );
    expect(response.status).toBe(400);
    expect(codes()).toEqual(['malformed_header']);
  });
});

it('accepts HTTP/2, where the authority is in :authority', async () => {
  const app = new Hono().use(verify({ amesh: machines.target }));
  app.post('*', async (c) => c.json({ by: c.get('authMesh').friendlyName, body: await c.req.json() }));
  const listener = getRequestListener(app.fetch);
  const { session, port, close } = await connectHttp2(createHttp2Server(listener));
  const authority = `127.0.0.1:${port}`;
  const request = { method: 'POST', target: '/a%2Fb?x', body: '{"a":1}' };
  const { headers, body } = await signedRaw(machines.signer, authority, request);
  const signed = Object.fromEntries(
    headers
      .slice(1)
      .map((field) => [
        field.slice(0, field.indexOf(':')).toLowerCase(),
        field.slice(field.indexOf(':') + 2),
      ]),
  );
  const line = { ':method': 'POST', ':path': '/a%2Fb?x', ':authority': authority };
  const accepted = await http2Exchange(session, { ...line, ...signed }, body);
  expect(codes()).toEqual([]);
  expect(JSON.parse(accepted.body)).toEqual({ by: 'controller', body: { a: 1 } });
  const again = await http2Exchange(session, { ...line, ...signed }, body);
  expect(again.status).toBe(401);
  expect(codes()).toEqual(['replay_detected']);
  // The same signature at another authority of the same server.
  const elsewhere = await http2Exchange(session, { ...line, ':authority': 'localhost', ...signed }, body);
  expect(elsewhere.status).toBe(421);
  await close();
});

it('without the bindings of Node, it uses the URL of the request', async () => {
  const app = new Hono();
  const server = await serve(app, ((request: Request) => app.fetch(request)) as typeof app.fetch);
  app.use(verify({ amesh: machines.target, hosts: [server.authority] }));
  app.all('*', (c) => c.text(c.req.url));
  const response = await machines.controller.fetch(`${server.origin}/a%2Fb//c?x&&y`, {
    method: 'POST',
    body: 'abc',
  });
  expect(await response.text()).toBe(`${server.origin}/a%2Fb//c?x&&y`);
  await server.close();
});

it('is not deceived by a binding with the name incoming', async () => {
  const app = new Hono().use(verify({ amesh: machines.target }));
  app.all('*', (c) => c.text('in'));
  const response = await app.request('http://localhost/', {}, { incoming: { method: 'GET', url: '/' } });
  expect(response.status).toBe(401);
  expect(codes()).toEqual(['missing_header']);
});

it('throws a TypeError for wrong options at the call that gets them', () => {
  expect(() => verify({ maxBodyByte: 1 } as never)).toThrow(TypeError);
  expect(() => verify({ maxStaleSeconds: 60, amesh: machines.target })).toThrow(
    'maxStaleSeconds belongs to an allowList: give both.',
  );
  expect(() => verify({ allowList: '{}' })).toThrow('There is no ownerKey (AMESH_OWNER_KEY)');
  expect(() => verify({ allowList: 1, ownerKey: `Ag${'A'.repeat(42)}` } as never)).toThrow(
    'allowList must be',
  );
  const context = { req: {} } as never;
  expect(() => verify(context)).toThrow('Call it when you mount it: app.use(verify()).');
});

it('ends with the client', async () => {
  const app = new Hono().use(verify({ amesh: machines.target }));
  app.all('*', (c) => c.text('in'));
  const server = await serve(app);
  for (let i = 0; i < 20; i++) {
    const client = await RawClient.connect(server.port);
    client.write(head('POST / HTTP/1.1', [`Host: ${server.authority}`, 'Content-Length: 1000']), '12345');
    await client.response();
    client.destroy();
    await once(client.socket, 'close');
  }
  expect(await (await machines.controller.fetch(server.origin)).text()).toBe('in');
  await server.close();
});

describe('on Node, the request after verify()', () => {
  /** What handlers get: whether it is still the request of the server, and the body, read in one way. */
  const readers: Record<string, (c: Context) => Promise<string>> = {
    'c.req.json()': async (c) => JSON.stringify(await c.req.json()),
    'c.req.text()': (c) => c.req.text(),
    'c.req.raw.clone()': (c) => c.req.raw.clone().text(),
    'c.req.raw.body': (c) => new Response(c.req.raw.body).text(),
    'a copy': (c) => new Request(c.req.raw, { method: 'PUT' }).text(),
    'Node itself': async (c) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of c.env.incoming) chunks.push(chunk);
      return Buffer.concat(chunks).toString();
    },
  };
  const names = Object.keys(readers);
  const appWith = (before: MiddlewareHandler) => {
    const app = new Hono<{ Variables: { given: Request } }>();
    app.use(before);
    app.use(async (c, next) => {
      c.set('given', c.req.raw);
      await next();
    });
    app.use(verify({ amesh: machines.target }), verify({ amesh: machines.target }));
    app.post('/:reader', async (c) => {
      const isSame = c.req.raw === c.get('given');
      const read = readers[names[Number(c.req.param('reader'))] as string];
      return c.json({ isSame, text: await read?.(c as Context) });
    });
    return app as unknown as Hono;
  };
  const read = async (server: Listening, name: string) => {
    const init = { method: 'POST', body: '{"a":1}' };
    const response = await machines.controller.fetch(`${server.origin}/${names.indexOf(name)}`, init);
    return response.json();
  };

  it('has nothing left to read for the server, which would wait for it with timers', async () => {
    let isRead: unknown;
    const app = appWith((c, next) => {
      // The server looks one turn later, and begins another timer if there is something.
      const look = () => {
        isRead = c.env.incoming.readableEnded;
      };
      c.env.outgoing.once('close', () => setTimeout(look));
      return next();
    });
    const server = await serve(app);
    expect(await read(server, 'c.req.json()')).toMatchObject({ isSame: true });
    await vi.waitFor(() => expect(isRead).toBe(true));
    await server.close();
  });

  it.each(names)('is the request of the server, if nobody has touched it: %s', async (name) => {
    const server = await serve(appWith((_c, next) => next()));
    expect(await read(server, name)).toEqual({ isSame: true, text: '{"a":1}' });
    await server.close();
  });

  it.each(names)('is a copy, if somebody has made a complete request of it: %s', async (name) => {
    const server = await serve(
      appWith((c, next) => {
        void c.req.raw.body;
        return next();
      }),
    );
    expect((await read(server, name)).text).toBe(name === 'Node itself' ? '' : '{"a":1}');
    await server.close();
  });

  it('is a copy, if the requests of the server do not read rawBody', async () => {
    const app = appWith((_c, next) => next());
    let older: object | undefined;
    const fetch: typeof app.fetch = (raw, env) => {
      older ??= Object.create(Object.getPrototypeOf(raw), {
        text: { value: () => Promise.reject(new Error('The stream was read.')) },
      });
      return app.fetch(Object.setPrototypeOf(raw, older as object), env);
    };
    const server = await serve(app, fetch);
    for (let i = 0; i < 2; i++)
      expect(await read(server, 'c.req.text()')).toEqual({ isSame: false, text: '{"a":1}' });
    await server.close();
  });

  it('does not hide a header that middleware has changed', async () => {
    const server = await serve(
      appWith((c, next) => {
        c.req.raw = new Request(c.req.raw, { headers: { ...c.req.header(), 'content-type': 'text/html' } });
        return next();
      }),
    );
    await machines.controller.fetch(`${server.origin}/0`, { method: 'POST', body: '{"a":1}' });
    expect(codes()).toEqual(['invalid_signature']);
    await server.close();
  });
});
