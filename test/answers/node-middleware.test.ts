import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RequestView } from '@authmesh/sdk/core';
import compression from 'compression';
import connect from 'connect';
import cors from 'cors';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import session from 'express-session';
import morgan from 'morgan';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toMiddleware } from '../../src/adapters/express/middleware';
import { frameworks } from '../support/frameworks';
import { latest } from '../support/full';
import { type Listening, listen } from '../support/listen';
import { asking, checked, provingVerifier, receive, signings } from '../support/proofs';

const text = 'The quick brown fox jumps over the lazy dog. '.repeat(1000);
const folder = mkdtempSync(join(tmpdir(), 'amesh-answers-'));
writeFileSync(join(folder, 'page.html'), text);
writeFileSync(join(folder, 'big.txt'), 'z'.repeat(3_000_000));
afterAll(() => rmSync(folder, { recursive: true }));

const lines: string[] = [];
const log = () => morgan('tiny', { stream: { write: (line) => lines.push(line) } });
const remember = () => session({ secret: 's', resave: true, saveUninitialized: true, rolling: true });
const compress = () => compression({ threshold: 0 });
/** Hooks into `writeHead()` as many do. */
const stamp: RequestHandler = (_request, response, next) => {
  const { writeHead } = response;
  response.writeHead = function (this: Response, ...args: Parameters<typeof writeHead>) {
    this.setHeader('link', `</${Math.random()}>`);
    return writeHead.apply(this, args);
  } as typeof writeHead;
  next();
};
/** Changes each body, as what minifies or injects does. */
const shout: RequestHandler = (_request, response, next) => {
  const { send } = response;
  response.send = function (this: Response, body: unknown) {
    return send.call(this, typeof body === 'string' ? body.toUpperCase() : body);
  } as typeof send;
  next();
};

/** What is mounted before verify() and after it. */
const stacks: Readonly<Record<string, { before?: RequestHandler[]; after?: RequestHandler[] }>> = {
  nothing: {},
  'compression before': { before: [compress()] },
  'compression after': { after: [compress()] },
  'compression on both sides': { before: [compress()], after: [compress()] },
  'sessions before': { before: [remember()] },
  'sessions after': { after: [remember()] },
  'morgan, cors and sessions before compression': { before: [log(), cors(), remember(), compress()] },
  'morgan, cors and sessions after compression': { after: [compress(), log(), cors(), remember()] },
  'a hook that adds a field before': { before: [stamp] },
  'a hook that adds a field after': { after: [stamp] },
  'something that changes the body after': { after: [shout] },
};

type Handler = (request: Request, response: Response, next: NextFunction) => unknown;
const routes: Readonly<Record<string, Handler>> = {
  json: (_q, r) => r.json({ text }),
  send: (_q, r) => r.send(text),
  bytes: (_q, r) => r.type('text/plain').send(Buffer.from(text)),
  cookie: (_q, r) => r.cookie('a', '1, 2').cookie('b', '3').send(text),
  redirect: (_q, r) => r.redirect('/elsewhere'),
  file: (_q, r) => r.sendFile(join(folder, 'page.html')),
  download: (_q, r) => r.download(join(folder, 'page.html')),
  failed: () => {
    throw new Error('failed');
  },
  next: (_q, _r, next) => next(new Error('failed')),
  nothing: (_q, r) => r.sendStatus(204),
};

const encodings = { plain: {}, gzip: { 'accept-encoding': 'gzip' } } as const;

describe.each(latest(frameworks))('$name', ({ express }) => {
  const both = Object.entries(stacks).flatMap(([name, stack]) =>
    signings.map(({ when, isLater }) => ({ name, when, isLater, ...stack })),
  );
  describe.each(both)('with $name, signed $when', ({ name, isLater, before = [], after = [] }) => {
    let server: Listening;

    beforeAll(async () => {
      const app = express();
      app.use(
        ...([...before, toMiddleware(await provingVerifier({ isLater })), ...after] as RequestHandler[]),
      );
      for (const [path, handler] of Object.entries(routes)) app.get(`/${path}`, handler as RequestHandler);
      app.get('/stream', (_q, r) => {
        r.type('text').write(text);
        r.end('end');
      });
      app.get('/slow', (_q, r) => {
        r.type('text').write('first');
        setTimeout(() => r.end('last'), 5);
      });
      app.use('/static', express.static(folder));
      app.use((error: Error, _q: Request, r: Response, _next: NextFunction) => {
        r.status(500).json({ failed: error.message });
      });
      server = await listen(app as never);
    });
    afterAll(() => server.close());

    async function ask(target: string, more: Partial<RequestView> = {}) {
      const { request, expected } = await asking({ target, ...more });
      const answer = await receive(server.port, request);
      return { answer, ...(await checked(answer, expected)) };
    }

    it.each(Object.entries(encodings))('proves every answer, asked for %s', async (encoding, headers) => {
      for (const path of Object.keys(routes)) {
        const seen = await ask(`/${path}`, { headers });
        expect([path, seen.proof]).toEqual([path, 'proven']);
        if (path === 'send') {
          expect(seen.text === (after.includes(shout) ? text.toUpperCase() : text)).toBe(true);
          const isCompressed = name.includes('compression') && encoding === 'gzip';
          expect(seen.answer.headers['content-encoding']?.[0]).toBe(isCompressed ? 'gzip' : undefined);
        }
        if (name.includes('sessions')) expect(seen.covered).toContain('set-cookie');
        if (name.includes('adds a field')) expect(seen.covered).toContain('link');
      }
    });

    it('proves files, parts of them, and what has not changed', async () => {
      const first = await ask('/static/page.html');
      expect(first.proof).toBe('proven');
      const etag = String(first.answer.headers.etag);
      const conditions = { 'if-none-match': etag };
      expect(await ask('/static/page.html', { headers: conditions })).toMatchObject({
        proof: 'proven',
        status: 304,
      });
      expect(await ask('/static/page.html', { headers: { range: 'bytes=1-9' } })).toMatchObject({
        proof: 'proven',
        status: 206,
        text: text.slice(1, 10),
      });
      expect(await ask('/static/page.html', { method: 'HEAD' })).toMatchObject({ proof: 'proven', text: '' });
      expect(await ask('/static/none')).toMatchObject({ proof: 'proven', status: 404 });
    });

    it.each(Object.entries(encodings))('signs the head of a stream, asked for %s', async (_, headers) => {
      const slow = await ask('/slow', { headers });
      expect(slow).toMatchObject({ proof: 'stream', text: 'firstlast' });
      const stream = await ask('/stream', { headers });
      expect([stream.proof, stream.text === `${text}end`]).toEqual(['stream', true]);
      const big = await ask('/static/big.txt', { headers });
      expect([big.proof, big.text.length]).toEqual(['stream', 3_000_000]);
    });
  });
});

describe('Connect', () => {
  it.each(['before', 'after'])('proves answers with compression %s verify()', async (where) => {
    const app = connect();
    if (where === 'before') app.use(compress());
    app.use(toMiddleware(await provingVerifier()));
    if (where === 'after') app.use(compress());
    app.use((_request: unknown, response: ServerResponse) => {
      response.setHeader('content-type', 'text/plain');
      response.setHeader('content-length', text.length);
      response.end(text);
    });
    const server = await listen(app);
    try {
      const { request, expected } = await asking({ headers: encodings.gzip });
      const answer = await receive(server.port, request);
      expect(answer.headers['content-encoding']).toEqual(['gzip']);
      expect((await checked(answer, expected)).proof).toBe('proven');
    } finally {
      await server.close();
    }
  });
});
