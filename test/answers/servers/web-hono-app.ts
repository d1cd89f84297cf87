import { Hono } from 'hono';
import { every, some } from 'hono/combine';
import { compress } from 'hono/compress';
import { cors } from 'hono/cors';
import { etag } from 'hono/etag';
import { HTTPException } from 'hono/http-exception';
import { secureHeaders } from 'hono/secure-headers';
import { stream, streamSSE, streamText } from 'hono/streaming';
import { timing } from 'hono/timing';
import { toHonoMiddleware } from '../../../src/adapters/hono/middleware';
import { nameOf, streaming, uploaded } from './web-fetch-app';
import { kinds, upstream } from './web-kinds';
import { forgetHost, listen, takeSigned, verifierOf } from './web-verifier';

const ROUTES = {
  json: 'proven',
  page: 'proven',
  headers: 'proven',
  exception: 'proven',
  failure: 'proven',
  nowhere: 'proven',
  events: 'stream',
  stream: 'stream',
  lines: 'stream',
} as const;

/** What handlers of Hono make with a context, below each of the mounts, and what comes of it. */
export const honoRoutes: Readonly<Record<string, 'proven' | 'stream'>> = ROUTES;

/** Where verify() stands, and what stands around it. */
export const mounts = ['plain', 'outside', 'coded', 'twice', 'some', 'every', 'sub', 'mounted'] as const;

let isReleased = false;

/** Answers each kind, and what else Hono can make, behind verify() in many places. */
export function honoApp(): Hono {
  forgetHost();
  const verify = (options = {}) => {
    const verifier = verifierOf(options);
    return toHonoMiddleware(() => verifier);
  };
  const app = new Hono();
  app.use(async (c, next) => {
    listen(c.req.url);
    await next();
  });
  app.get('/-/signed', (c) => c.text(takeSigned()));
  app.get('/-/release', (c) => {
    isReleased = true;
    return c.text('released');
  });
  for (const [path, answer] of Object.entries(upstream)) app.get(path, answer);

  app.use('/plain/*', verify());
  app.use('/outside/*', cors({ origin: '*' }), secureHeaders(), timing(), async (c, next) => {
    await next();
    c.header('x-outside', '1');
  });
  app.use('/outside/*', verify());
  app.use('/coded/*', compress({ threshold: 0 }), verify());
  app.use('/inner/*', verify(), compress({ threshold: 0 }));
  app.use('/twice/*', verify(), verify());
  app.use('/some/*', some(verify({ require: 'orders:read' }), verify()));
  app.use('/every/*', every(verify(), verify()));
  app.use('/tagged/*', verify(), etag());
  app.use('/scoped/*', verify({ require: 'orders:read' }));
  app.use('/later/*', verify(), verify({ require: 'orders:read' }));
  app.use('/both/*', every(verify(), verify({ require: 'orders:read' })));

  app.post(
    '/streamed/*',
    toHonoMiddleware(() => streaming),
    (c) => uploaded(c.req.raw),
  );

  const sub = new Hono();
  sub.use(verify());
  sub.onError((_, c) => c.text('of the sub-app', 500));
  addRoutes(sub);
  app.route('/sub', sub);
  const mounted = new Hono();
  addRoutes(mounted);
  app.use('/mounted/*', verify());
  app.mount('/mounted', mounted.fetch);
  for (const path of [...mounts, 'bare', 'inner', 'tagged', 'scoped', 'later', 'both'])
    addRoutes(app, `/${path}`);
  app.onError((error, c) => (error instanceof HTTPException ? error.getResponse() : c.text('failed', 500)));
  app.notFound((c) => c.text('There is nothing here.', 404));
  return app;
}

function addRoutes(app: Hono, path = ''): void {
  app.get(`${path}/json`, (c) => c.json({ a: 1 }));
  app.get(`${path}/page`, (c) => c.html('<p>hello'));
  app.get(`${path}/headers`, (c) => {
    c.header('Set-Cookie', 'a=1; Path=/');
    c.header('Set-Cookie', 'b=2', { append: true });
    c.header('Link', '</>; rel="self"');
    c.status(202);
    return c.text('with headers');
  });
  app.get(`${path}/exception`, () => {
    throw new HTTPException(409, { message: 'conflict' });
  });
  app.get(`${path}/failure`, () => {
    throw new Error('of the handler');
  });
  app.get(`${path}/events`, (c) =>
    streamSSE(c, async (events) => {
      await events.writeSSE({ data: 'first' });
      await events.sleep(50);
      await events.writeSSE({ data: 'second' });
    }),
  );
  app.get(`${path}/waiting`, (c) =>
    streamSSE(c, async (events) => {
      await events.writeSSE({ data: 'first' });
      isReleased = false;
      while (!isReleased) await events.sleep(5); // a Worker can wait for nothing of another request
      await events.writeSSE({ data: 'second' });
    }),
  );
  app.get(`${path}/stream`, (c) =>
    stream(c, async (out) => {
      await out.write('first');
      // One long pause could be over, on a busy machine, before the event loop has made a single turn.
      for (let turn = 0; turn < 10; turn++) await out.sleep(2);
      await out.write(' second');
    }),
  );
  app.get(`${path}/lines`, (c) => streamText(c, async (out) => void (await out.writeln('a line'))));
  app.all(
    `${path}/kind/:name`,
    async (c) => (await kinds[nameOf(c.req.raw)]?.answer(c.req.raw)) ?? c.notFound(),
  );
}
