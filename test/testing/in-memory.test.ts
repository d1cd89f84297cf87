import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { allowUnprovenBody, provenBy } from '@authmesh/sdk';
import { createTestMesh, type TestApp } from '@authmesh/sdk/testing';
import { withAmesh } from '@authmesh/sdk/workers';
import connect from 'connect';
import { fastify } from 'fastify';
import { describe, expect, it, vi } from 'vitest';
import { listen } from '../support/listen';
import { apps } from './apps';

/** An app of node:http behind verify(). */
async function nodeApp(handler: (req: IncomingMessage, res: ServerResponse) => unknown) {
  const mesh = await createTestMesh();
  const verify = mesh.amesh.verify();
  const server = createServer((req, res) => verify(req, res, () => handler(req, res)));
  return { mesh, server, caller: await mesh.asCaller(server) };
}

describe('an app in memory', () => {
  it('needs no port and no global fetch', async () => {
    const { caller, server } = await nodeApp((_req, res) => res.end('ok'));
    const spy = vi.spyOn(globalThis, 'fetch').mockRejectedValue(new Error('the network'));
    try {
      expect(await (await caller.fetch('/')).text()).toBe('ok');
    } finally {
      spy.mockRestore();
    }
    expect(server.listening).toBe(false);
  });

  it('takes large bodies both ways, with backpressure', async () => {
    const size = 8 * 1024 * 1024;
    const { caller } = await nodeApp((req, res) => req.pipe(res));
    // The server reads at most maxBodyBytes.
    expect((await caller.fetch('/', { method: 'POST', body: new Uint8Array(size) })).status).toBe(413);
    const bytes = new Uint8Array(1_000_000).fill(7);
    const echoed = new Uint8Array(
      await (await caller.fetch('/', { method: 'POST', body: bytes })).arrayBuffer(),
    );
    expect(echoed.length).toBe(bytes.length);
    expect(echoed.every((byte) => byte === 7)).toBe(true);
  });

  it('waits while nobody reads the response', async () => {
    let written = 0;
    let isFull = false;
    const { caller } = await nodeApp((_req, res) => {
      const write = () => {
        for (; written < 64; written++) {
          if (res.write(Buffer.alloc(65_536))) continue;
          written++;
          isFull = true;
          res.once('drain', write);
          return;
        }
        res.end();
      };
      write();
    });
    const response = await caller.fetch('/');
    expect(isFull).toBe(true);
    expect(written).toBeLessThan(64);
    expect((await response.arrayBuffer()).byteLength).toBe(64 * 65_536);
  });

  it('streams: an event arrives before the response ends', async () => {
    let end = () => {};
    const { caller } = await nodeApp((_req, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('data: 1\n\n');
      end = () => res.end('data: 2\n\n');
    });
    const response = await caller.fetch('/', { answers: 'required', [allowUnprovenBody]: true });
    expect(provenBy(response)).toMatchObject({ body: false });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('data: 1\n\n');
    end();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('data: 2\n\n');
    expect((await reader.read()).done).toBe(true);
  });

  it('proves its answers to callers that ask', async () => {
    const { caller, mesh } = await nodeApp((_req, res) => res.end('ok'));
    const response = await caller.fetch('/', { answers: 'required' });
    expect(await response.text()).toBe('ok');
    const { deviceId } = await mesh.amesh.identity();
    expect(provenBy(response)).toMatchObject({ target: deviceId, body: true });
  });

  it('hears that the caller is gone, before the response and in the middle of it', async () => {
    const closed: string[] = [];
    const before = new AbortController();
    const { caller } = await nodeApp((req, res) => {
      res.once('close', () => closed.push(req.url ?? ''));
      if (req.url === '/slow') before.abort(new Error('enough'));
      else res.write('x');
    });
    const slow = caller.fetch('/slow', { signal: before.signal });
    await expect(slow).rejects.toThrow('enough');
    const during = new AbortController();
    const response = await caller.fetch('/begun', { signal: during.signal });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    during.abort(new Error('enough'));
    await expect(reader.read()).rejects.toThrow();
    await expect.poll(() => closed).toEqual(['/slow', '/begun']);
  });

  it('may be a fetch handler, which hears that, too, and whose late response nobody reads', async () => {
    const heard: string[] = [];
    const before = new AbortController();
    let answerLate = (_: Response) => {};
    const late = new Promise<Response>((resolve) => {
      answerLate = resolve;
    });
    const bodyOf = (name: string) =>
      new ReadableStream<Uint8Array>(
        {
          pull: (controller) => controller.enqueue(new Uint8Array(1)),
          cancel: () => void heard.push(name),
        },
        { highWaterMark: 0 },
      );
    const mesh = await createTestMesh();
    const app = (request: Request) => {
      const { pathname } = new URL(request.url);
      request.signal.addEventListener('abort', () => heard.push(`${pathname} request`));
      if (pathname !== '/slow') return new Response(bodyOf(pathname));
      before.abort(new Error('enough'));
      return late;
    };
    const caller = await mesh.asCaller(app);
    const slow = caller.fetch('/slow', { signal: before.signal });
    await expect(slow).rejects.toThrow('enough');
    answerLate(new Response(bodyOf('/late')));
    const during = new AbortController();
    const response = await caller.fetch('/begun', { signal: during.signal });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    during.abort(new Error('enough'));
    const rest = async () => {
      while (!(await reader.read()).done);
    };
    await expect(rest()).rejects.toThrow('enough');
    await expect.poll(() => heard.sort()).toEqual(['/begun', '/begun request', '/late', '/slow request']);
    const gone = AbortSignal.abort(new Error('before'));
    await expect(caller.fetch('/slow', { signal: gone })).rejects.toThrow('before');
  });

  it('fails as the network does if the app hangs up', async () => {
    const { caller } = await nodeApp((_req, res) => res.destroy());
    await expect(caller.fetch('/')).rejects.toThrow(new TypeError('fetch failed'));
  });

  it.each([204, 304])('has no body after %d', async (status) => {
    const { caller } = await nodeApp((_req, res) => res.writeHead(status).end());
    const response = await caller.fetch('/');
    expect([response.status, response.body]).toEqual([status, null]);
  });

  it('responds to HEAD, keeps doubled headers, and follows redirects within itself', async () => {
    const { caller } = await nodeApp((req, res) => {
      if (req.url === '/old') res.writeHead(307, { location: '/new' }).end();
      else res.writeHead(200, { 'set-cookie': ['a=1', 'b=2'], 'x-url': req.url }).end('ok');
    });
    const head = await caller.fetch('/x', { method: 'HEAD' });
    expect([head.headers.getSetCookie(), await head.text()]).toEqual([['a=1', 'b=2'], '']);
    const moved = await caller.fetch('/old');
    expect([moved.headers.get('x-url'), moved.redirected, moved.url]).toEqual([
      '/new',
      true,
      'https://localhost/new',
    ]);
  });

  it('is the only one that is called: no request leaves for another host', async () => {
    const { caller } = await nodeApp((_req, res) =>
      res.writeHead(302, { location: 'https://evil.test/' }).end(),
    );
    const message =
      'Nothing was sent: the app in memory is called at https://localhost, and not at https://evil.test.';
    await expect(caller.fetch('https://evil.test/')).rejects.toThrow(message);
    await expect(caller.fetch('//evil.test/')).rejects.toThrow(message);
    await expect(caller.fetch('/')).rejects.toThrow(message);
  });

  it('says that an upgrade needs a server that listens', async () => {
    const { caller, server } = await nodeApp((_req, res) => res.end());
    server.on('upgrade', (_req, socket) =>
      socket.end('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
    );
    const headers = { connection: 'upgrade', upgrade: 'x' };
    await expect(mesh(caller, headers)).rejects.toThrow('The app switched protocols');
    function mesh(own: typeof caller, lines: Record<string, string>) {
      return own.fetch('/', { headers: lines });
    }
  });

  it('may be one of Connect, Koa, Nest, a Worker, or of Fastify with its own host', async () => {
    const { amesh, asCaller } = await createTestMesh({ url: 'https://orders.internal' });
    const verify = amesh.verify();
    const listener: RequestListener = (req, res) =>
      verify(req, res, () =>
        res.end(`${req.headers.host} ${(req.socket as { encrypted?: boolean }).encrypted}`),
      );
    const app = fastify();
    app.get('/', (request, reply) => {
      reply.hijack();
      listener(request.raw, reply.raw);
    });
    let isReady = false;
    const nest = {
      init: async () => {
        isReady = true;
      },
      getHttpServer: () => createServer(listener),
    };
    const kinds: TestApp[] = [
      connect().use(listener as never) as never,
      { callback: () => listener },
      nest,
      app,
      withAmesh(
        { fetch: async (request: Request) => new Response(`${new URL(request.url).host} true`) },
        { amesh },
      ),
    ];
    for (const kind of kinds) {
      const response = await (await asCaller(kind)).fetch('/');
      expect(await response.text()).toBe('orders.internal true');
    }
    expect(isReady).toBe(true);
  });

  it.each([
    ['nothing', undefined],
    ['a URL', 'http://localhost:3000'],
    ['an object without anything', {}],
    ['a promise', Promise.resolve()],
  ])('cannot be %s', async (_what, app) => {
    const { asCaller, asStranger } = await createTestMesh();
    await expect(asCaller(app as never)).rejects.toThrow('This is not an app that a test can call');
    expect(() => asStranger(app as never)).toThrow(TypeError);
  });

  it('cannot be a handler of node:http, which looks like a fetch handler', async () => {
    const { asCaller } = await createTestMesh();
    const caller = await asCaller((_req: IncomingMessage, _res: ServerResponse) => {});
    await expect(caller.fetch('/')).rejects.toThrow('give createServer(handler)');
  });
});

describe('a server that listens', () => {
  it.each(['Express 5', 'Fastify 5', 'node:http'])('is called over the network: %s', async (name) => {
    const mesh = await createTestMesh();
    const app = (await apps[name]?.(mesh.amesh)) as never as {
      listen(port: number): unknown;
      ready?(): Promise<void>;
      routing?: RequestListener;
    };
    await app.ready?.();
    const handler = app.routing ?? (typeof app === 'function' ? (app as RequestListener) : undefined);
    const server = await listen(
      handler ?? ((req, res) => (app as never as ReturnType<typeof createServer>).emit('request', req, res)),
    );
    try {
      const caller = await mesh.addCaller({ name: 'laptop' });
      const response = await caller.fetch(`http://127.0.0.1:${server.port}/orders`);
      expect([response.status, await response.json()]).toEqual([200, { from: 'laptop' }]);
      expect(provenBy(response)).toMatchObject({ body: true });
    } finally {
      await server.close();
    }
  });
});
