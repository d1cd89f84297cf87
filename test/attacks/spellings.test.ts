import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { authMesh } from '@authmesh/sdk/fastify';
import { verify as verifyHono } from '@authmesh/sdk/hono';
import { withAmesh } from '@authmesh/sdk/workers';
import { getRequestListener } from '@hono/node-server';
import { serveStatic } from '@hono/node-server/serve-static';
import type { FastifyInstance } from 'fastify';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { fastifies, serve } from '../support/fastify';
import { frameworks } from '../support/frameworks';
import { latest } from '../support/full';
import { listen } from '../support/listen';
import { exchange, head } from '../support/raw-http';
import { requireRuntime, serverRuntimes, startServer } from '../support/runtime-server';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';
import { vectors } from '../support/vectors';

/**
 * Other spellings of a protected path, sent as they stand and unsigned. Where verify() is on a path and the handler behind it
 * is found by another reading of the URL, some of them get in; docs/placement.md says which, and this is its proof.
 */

const machines = usePair();
const SECRET = 'for signed requests';

const spellings = [
  '/api/x',
  '/%61pi/x',
  '//api/x',
  '/./api/x',
  '/api%2fx',
  '/API/x',
  '/api;v=1/x',
  '/api./x',
  '/api/x.',
  '/\\api/x',
  '/api\\x',
  '/y/../api/x',
  '/%2e%2e/api/x',
  '/y/%2e%2e/api/x',
  '/y%2f..%2fapi/x',
  '/%2561pi/x',
  '/%c1%a1pi/x',
  '/%ffapi/x',
  '/api%00/x',
  '/api/x/',
  '/api//x',
  '/x/../api/x',
  '/api/%78',
  '/api/x%00',
  '/api/x#y',
  '/api/x?',
  'http://127.0.0.1/api/x',
  'http://127.0.0.1/%61pi/x',
];

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-spellings-'));
  await mkdir(join(root, 'api'));
  await mkdir(join(root, 'y'));
  await writeFile(join(root, 'api', 'x'), SECRET);
});
afterAll(() => rm(root, { recursive: true }));

interface Place {
  readonly port: number;
  close(): Promise<unknown>;
}

/** The spellings that reach the handler unsigned; checks that a signed request does. */
async function reaching(start: () => Promise<Place> | Place): Promise<string[]> {
  const place = await start();
  try {
    const authority = `127.0.0.1:${place.port}`;
    const { line, headers } = await signedRaw(machines.signer, authority, { target: '/api/x' });
    expect((await exchange(place.port, head(line, headers))).body).toContain(SECRET);
    return await unsignedAt(place.port);
  } finally {
    await place.close();
  }
}

/** Sends each spelling unsigned, and gives those that were answered with the secret. */
async function unsignedAt(port: number, more: string[] = []): Promise<string[]> {
  const found: string[] = [];
  for (const target of spellings) {
    const headers = [`Host: 127.0.0.1:${port}`, 'Connection: close', ...more];
    const { body } = await exchange(port, head(`GET ${target} HTTP/1.1`, headers));
    if (body.includes(SECRET)) found.push(target);
  }
  return found;
}

/** A handler that reads a path as loosely as one can: decoded twice, in one case, by the rules of Windows, without dot segments. */
async function looseFile(target: string): Promise<string> {
  let path = target.replace(/[?#].*/s, '').replace(/^https?:\/\/[^/]*/, '');
  for (let i = 0; i < 2; i++) path = Buffer.from(percentDecoded(path), 'latin1').toString();
  const plain = posix.normalize(
    `/${path
      .replaceAll('\\', '/')
      .replace(/;[^/]*|\0/g, '')
      .toLowerCase()}`,
  );
  const file = plain.replace(/[./]+$/, '').replace(/[./]+\//g, '/');
  return readFile(join(root, file), 'utf8').catch(() => 'nothing here');
}

function percentDecoded(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}

describe.each(latest(frameworks))('$name', ({ express }) => {
  type Handler = import('express').RequestHandler;
  const verify = () => machines.target.verify() as Handler;
  const loose: Handler = async ({ originalUrl }, response) => void response.end(await looseFile(originalUrl));
  const files = () => express.static(root);
  const named: Handler = ({ params }, response) => void response.end(params.name === 'x' ? SECRET : '');
  const place = (build: (app: ReturnType<typeof express>) => unknown) => () => {
    const app = express();
    build(app);
    return listen(app);
  };

  describe('unsafe', () => {
    it('verify() on a path, and express.static for the whole app', async () => {
      expect(await reaching(place((app) => app.use('/api', verify()).use(files())))).toMatchInlineSnapshot(`
        [
          "/%61pi/x",
          "//api/x",
          "/./api/x",
          "/api%2fx",
          "/y/../api/x",
          "/y/%2e%2e/api/x",
          "/y%2f..%2fapi/x",
          "/x/../api/x",
          "http://127.0.0.1/%61pi/x",
        ]
      `);
    });

    it('verify() on a path, and a handler that reads the URL itself', async () => {
      expect(await reaching(place((app) => app.use('/api', verify()).use(loose)))).toMatchInlineSnapshot(`
        [
          "/%61pi/x",
          "//api/x",
          "/./api/x",
          "/api%2fx",
          "/api;v=1/x",
          "/api./x",
          "/\\api/x",
          "/api\\x",
          "/y/../api/x",
          "/%2e%2e/api/x",
          "/y/%2e%2e/api/x",
          "/y%2f..%2fapi/x",
          "/%2561pi/x",
          "/api%00/x",
          "/x/../api/x",
          "http://127.0.0.1/%61pi/x",
        ]
      `);
    });

    it('verify() on the name, and a route with a parameter', async () => {
      const build = place((app) => app.use('/api/x', verify()).get('/api/:name', named));
      expect(await reaching(build)).toMatchInlineSnapshot(`
        [
          "/api/%78",
        ]
      `);
    });
  });

  it.each<[string, (app: ReturnType<typeof express>) => unknown]>([
    ['verify() for the whole app, and express.static', (app) => app.use(verify()).use(files())],
    ['verify() for the whole app, and a loose handler', (app) => app.use(verify()).use(loose)],
    [
      'a router that has both verify() and its routes',
      (app) => app.use('/api', express.Router().use(verify()).get('/:name', named)),
    ],
    [
      'a router that has both verify() and its files',
      (app) =>
        app.use(
          '/api',
          express
            .Router()
            .use(verify())
            .use(express.static(join(root, 'api'))),
        ),
    ],
    ['a router that has both, and a loose handler', (app) => app.use('/api', verify(), loose)],
    ['verify() on the route itself', (app) => app.get('/api/:name', verify(), named)],
  ])('safe: %s', async (_, build) => {
    expect(await reaching(place(build))).toEqual([]);
  });
});

describe.each(latest(fastifies))('$name', ({ fastify }) => {
  const place =
    (build: (app: FastifyInstance) => unknown, options: object = {}) =>
    async () => {
      const app = fastify(options) as FastifyInstance;
      await build(app);
      const { port } = await serve(app);
      return { port, close: () => app.close() };
    };
  const register = (scope: FastifyInstance) => scope.register(authMesh, { amesh: machines.target });
  const looseRoute = (scope: FastifyInstance, path: string) =>
    scope.get(path, async ({ originalUrl }) => looseFile(originalUrl));

  it('unsafe: a scope for a path, and a separate handler outside it', async () => {
    const build = place(async (app) => {
      await app.register(
        async (api) => {
          await register(api);
          looseRoute(api, '/*');
        },
        { prefix: '/api' },
      );
      looseRoute(app, '/*');
    });
    expect(await reaching(build)).toMatchInlineSnapshot(`
      [
        "//api/x",
        "/./api/x",
        "/api%2fx",
        "/API/x",
        "/api;v=1/x",
        "/api./x",
        "/\\api/x",
        "/api\\x",
        "/y/../api/x",
        "/%2e%2e/api/x",
        "/y/%2e%2e/api/x",
        "/y%2f..%2fapi/x",
        "/%2561pi/x",
        "/api%00/x",
        "/x/../api/x",
      ]
    `);
  });

  it.each(['verify() for the whole app', 'a scope that has both'])('safe: %s', async (name) => {
    const isWhole = name.includes('whole');
    const options = { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, caseSensitive: false };
    for (const routing of [{}, options]) {
      const build = place(async (app) => {
        if (isWhole) await register(app);
        await app.register(
          async (api) => {
            if (!isWhole) await register(api);
            looseRoute(api, '/*');
            api.get('/:name/y', async () => '');
          },
          { prefix: isWhole ? '' : '/api' },
        );
      }, routing);
      expect(await reaching(build)).toEqual([]);
    }
  });
});

describe('Hono on Node', () => {
  const verify = () => verifyHono({ amesh: machines.target });
  const place = (app: Hono) => () => listen(getRequestListener(app.fetch));
  const loose = async (c: import('hono').Context) => c.text(await looseFile(c.env.incoming.url));
  const files = () => serveStatic({ root });

  it('safe by accident: verify() on a path, and serveStatic() for the whole app, which decode in the same way', async () => {
    const app = new Hono().use('/api/*', verify()).use(files());
    expect(await reaching(place(app as Hono))).toMatchInlineSnapshot(`[]`);
  });

  it('unsafe: verify() on a path, and a separate handler', async () => {
    const app = new Hono().use('/api/*', verify()).all('*', loose);
    expect(await reaching(place(app as Hono))).toMatchInlineSnapshot(`
      [
        "//api/x",
        "/api%2fx",
        "/API/x",
        "/api;v=1/x",
        "/api./x",
        "/y%2f..%2fapi/x",
        "/%2561pi/x",
        "/api%00/x",
      ]
    `);
  });

  it('safe by accident: verify() on the name, and a route with a parameter, which decode in the same way', async () => {
    const app = new Hono().use('/api/x', verify());
    app.get('/api/:name', (c) => c.text(c.req.param('name') === 'x' ? SECRET : ''));
    expect(await reaching(place(app as Hono))).toMatchInlineSnapshot(`[]`);
  });

  it.each<[string, () => Hono]>([
    ['verify() for the whole app, and serveStatic()', () => new Hono().use(verify()).use(files()) as Hono],
    [
      'verify() for the whole app, and a loose handler',
      () => new Hono().use(verify()).all('*', loose) as Hono,
    ],
    [
      'a sub-app that has both',
      () => new Hono().route('/api', new Hono().use(verify()).all('*', loose) as Hono) as Hono,
    ],
    [
      'basePath(), with both',
      () => new Hono().basePath('/api').use(verify()).all('*', loose) as unknown as Hono,
    ],
    [
      'verify() on the route itself',
      () =>
        new Hono().get('/api/:name', verify(), (c) =>
          c.text(c.req.param('name') === 'x' ? SECRET : ''),
        ) as never,
    ],
  ])('safe: %s', async (_, build) => {
    expect(await reaching(place(build()))).toEqual([]);
  });
});

describe('node:http', () => {
  const respond = async (request: IncomingMessage, response: ServerResponse) =>
    void response.end(await looseFile(String(request.url)));

  it('unsafe: verify() after a test of the URL', async () => {
    const verify = machines.target.verify();
    const start = () =>
      listen((request, response) => {
        if (request.url?.startsWith('/api/')) verify(request, response, () => respond(request, response));
        else respond(request, response);
      });
    expect(await reaching(start)).toMatchInlineSnapshot(`
      [
        "/%61pi/x",
        "//api/x",
        "/./api/x",
        "/api%2fx",
        "/API/x",
        "/api;v=1/x",
        "/api./x",
        "/\\api/x",
        "/api\\x",
        "/y/../api/x",
        "/%2e%2e/api/x",
        "/y/%2e%2e/api/x",
        "/y%2f..%2fapi/x",
        "/%2561pi/x",
        "/api%00/x",
        "/x/../api/x",
        "http://127.0.0.1/api/x",
        "http://127.0.0.1/%61pi/x",
      ]
    `);
  });

  it('safe: verify() first', async () => {
    const verify = machines.target.verify();
    const start = () =>
      listen((request, response) => verify(request, response, () => respond(request, response)));
    expect(await reaching(start)).toEqual([]);
  });
});

describe('a fetch handler', () => {
  const file = async (request: Request) => new Response(await looseFile(request.url));
  let authority = ''; // a fetch handler does not see the port of its server
  const protect = (handler: (request: Request) => Promise<Response>) =>
    // Its hosts are known at the first request.
    withAmesh(handler, () => ({ amesh: machines.target, hosts: [authority] }));
  const place = (handler: (request: Request) => Promise<Response>) => async () => {
    const server = await listen(getRequestListener(handler as never));
    authority = server.authority;
    return server;
  };

  it('unsafe: withAmesh() after a test of the URL', async () => {
    const inner = protect(file);
    const handler = (request: Request) =>
      new URL(request.url).pathname.startsWith('/api/') ? inner(request) : file(request);
    expect(await reaching(place(handler))).toMatchInlineSnapshot(`
      [
        "/%61pi/x",
        "//api/x",
        "/api%2fx",
        "/API/x",
        "/api;v=1/x",
        "/api./x",
        "/y%2f..%2fapi/x",
        "/%2561pi/x",
        "/api%00/x",
        "http://127.0.0.1/%61pi/x",
      ]
    `);
  });

  it('safe: withAmesh() around the handler', async () => {
    expect(await reaching(place(protect(file)))).toEqual([]);
  });
});

describe('a path of a caller that others read as another one', () => {
  const ambiguous = [
    '/y/../api/x',
    '/y/%2e%2E/api/x',
    '/y/..%2fapi/x',
    '/y%2F..%2Fapi/x',
    '/y/.',
    '/y\\..\\api',
    '/a\\x',
    '/y/..',
    '/y/..;v=1/x',
  ];
  const honest = [
    '/a%20b',
    '/a%2Fb',
    '/%C3%A9',
    '/a%5Cb',
    '/...',
    '/.well-known/x',
    '/a..b',
    '/..a',
    '/a.',
    '/~a%7e',
    '/%61',
    '//a',
    '/a;b=1',
    '/x?p=/../y',
    '/x?p=\\',
    '/%252e%252e/a',
  ];
  const send = async (target: string) => {
    const verify = machines.target.verify();
    const server = await listen((request, response) =>
      verify(request, response, () => void response.end('in')),
    );
    try {
      const { line, headers } = await signedRaw(machines.signer, server.authority, { target });
      return await exchange(server.port, head(line, headers));
    } finally {
      await server.close();
    }
  };

  it.each(ambiguous)('%s is refused, though it is signed', async (target) => {
    expect((await send(target)).status).toBe(400);
    expect(machines.refusals.map(({ code }) => code)).toEqual(['malformed_header']);
    expect(machines.refusals[0]?.detail).toMatch(/dot segment or a backslash/);
  });

  it.each(honest)('%s is accepted', async (target) => {
    expect((await send(target)).body).toBe('in');
  });
});

for (const name of serverRuntimes.filter((runtime) => runtime !== 'node')) {
  const runtime = await requireRuntime(name);
  describe.skipIf(runtime === null)(name, () => {
    let server: Awaited<ReturnType<typeof startServer>>;
    beforeAll(async () => {
      if (runtime === null) return;
      const script = `test/adapters/servers/${name === 'workerd' ? 'worker-' : ''}spellings.ts`;
      server = await startServer(runtime, script);
      return () => server.close();
    });

    /** What gets in unsigned at a place; a signed request does, too. */
    async function reachingPlace(place: string): Promise<string[]> {
      const extra = { 'authmesh-target': vectors.devices.target.deviceId };
      const signer = await signerOf('controller');
      const authority = `127.0.0.1:${server.port}`;
      const { line, headers } = await signedRaw(signer, authority, { target: '/api/x', headers: extra });
      const chosen = `X-Place: ${place}`;
      expect((await exchange(server.port, head(line, [...headers, chosen]))).body).toContain(SECRET);
      return unsignedAt(server.port, [chosen]);
    }

    it.each([
      'Hono: verify() for the whole app',
      'Hono: a sub-app that has both',
      'Hono: verify() on the route itself',
      'withAmesh() around the handler',
    ])('safe: %s', async (place) => {
      expect(await reachingPlace(place)).toEqual([]);
    });

    it('unsafe: verify() on a path, and a separate handler', async () => {
      expect(await reachingPlace('Hono: verify() on a path, and a loose handler')).toContain('/API/x');
    });
  });
}
