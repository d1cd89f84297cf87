import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { setImmediate as soon } from 'node:timers/promises';
import { type AnswerSigner, signRequest, streamUnverifiedBody } from '@authmesh/sdk/core';
import compression from 'compression';
import express, { type RequestHandler } from 'express';
import session from 'express-session';
import { afterEach, describe, expect, it } from 'vitest';
import { toMiddleware } from '../../src/adapters/express/middleware';
import { NOW, signerOf } from '../support/core';
import { listen } from '../support/listen';
import { asking, checked, provingVerifier, receive, type Signing, targetSigner } from '../support/proofs';
import { kindsAndSignings, type NodeHandler, type ProvingKind } from '../support/proving-servers';
import { RawClient } from '../support/raw-http';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function start(
  kind: ProvingKind & Signing,
  handler: NodeHandler,
  options: Parameters<typeof provingVerifier>[0] = {},
) {
  const { isLater = false } = kind;
  const server = await kind.start(await provingVerifier({ isLater, ...options }), handler);
  closing.push(() => server.close());
  return server;
}

/** A signer that waits until it is told to go on. */
async function slowSigner() {
  const signer = await targetSigner();
  let go = () => {};
  let isAsked = () => {};
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve;
  });
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const answerSigner: AnswerSigner = {
    ...signer,
    async sign(message) {
      isAsked();
      await gate;
      return signer.sign(message);
    },
  };
  return { answerSigner, go, asked };
}

/** A signer that counts. */
async function countingSigner() {
  const signer = await targetSigner();
  const count = { signed: 0 };
  const sign = (message: Uint8Array) => {
    count.signed++;
    return signer.sign(message);
  };
  return { answerSigner: { ...signer, sign }, count };
}

const codeOf = (run: () => unknown) => {
  try {
    run();
    return 'nothing';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
};

describe.each(kindsAndSignings)('a response on $name', (kind) => {
  const SENT = kind.kind === 'node:http2' ? 'ERR_HTTP2_HEADERS_SENT' : 'ERR_HTTP_HEADERS_SENT';

  it('looks to its handler as if it had been sent', async () => {
    const { answerSigner, go } = await slowSigner();
    const seen: unknown[] = [];
    const events: string[] = [];
    const states = (r: ServerResponse) => [r.headersSent, r.writableEnded, r.finished, r.writableFinished];
    const server = await start(
      kind,
      async (_, r) => {
        for (const event of ['finish', 'close']) r.on(event, () => events.push(event));
        seen.push(states(r));
        r.writeHead(200, { etag: '"1"' });
        seen.push(states(r), r.getHeader('etag'));
        seen.push(
          codeOf(() => r.setHeader('a', '1')),
          codeOf(() => r.writeHead(500)),
        );
        r.end('hello');
        seen.push(
          states(r),
          codeOf(() => r.removeHeader('etag')),
        );
        await soon();
        seen.push(events.length);
        go();
      },
      { answerSigner },
    );
    const { request, expected } = await asking();
    expect(await checked(await server.ask(request), expected)).toMatchObject({
      proof: 'proven',
      text: 'hello',
    });
    await expect.poll(() => events).toEqual(['finish', 'close']);
    expect(seen).toEqual([
      [false, false, false, false],
      [true, false, false, false],
      '"1"',
      SENT,
      SENT,
      [true, true, true, false],
      SENT,
      0,
    ]);
  });

  it('accepts nothing after its end', async () => {
    const { answerSigner, go } = await slowSigner();
    const codes: unknown[] = [];
    const server = await start(
      kind,
      async (_, r) => {
        r.on('error', (error: NodeJS.ErrnoException) => codes.push(error.code));
        r.end('all');
        r.write('more', (error) => codes.push(error instanceof Error));
        r.end('again');
        await soon();
        go();
      },
      { answerSigner },
    );
    const { request, expected } = await asking();
    expect(await checked(await server.ask(request), expected)).toMatchObject({
      proof: 'proven',
      text: 'all',
    });
    expect(codes).toContain(true);
  });

  // Of what has no body, Node's write() returns true, and no drain follows.
  const methods = kind.kind === 'node:http2' ? ['GET'] : ['GET', 'HEAD'];
  it.each(methods)('makes a writer wait, and continue, after %s', async (method) => {
    const { answerSigner, go, asked } = await slowSigner();
    const piece = Buffer.alloc(16_384, 'a');
    let early = 0;
    const server = await start(
      kind,
      async (_, r) => {
        r.write(piece);
        await asked;
        while (early < 100 && r.write(piece)) early++;
        const drained = once(r, 'drain');
        go();
        await drained;
        r.end('end');
      },
      { answerSigner },
    );
    const { request, expected } = await asking({ method });
    const seen = await checked(await server.ask(request), expected);
    expect(seen.proof).toBe(method === 'HEAD' ? 'proven' : 'stream');
    expect(early).toBeLessThan(8);
    expect(seen.text.length).toBe(method === 'HEAD' ? 0 : 16_384 * (early + 2) + 3);
  });

  it('is dropped with a client that leaves', async () => {
    const { answerSigner, go, asked } = await slowSigner();
    let closed = 0;
    const server = await start(
      kind,
      (q, r) => {
        if (q.url !== '/left') return r.end('here');
        r.on('close', () => {
          closed++;
          go();
        });
        r.write('a');
        return r.end('b');
      },
      { answerSigner },
    );
    if (kind.kind !== 'node:http2') {
      const { request } = await asking({ target: '/left' });
      const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\r\n`);
      const socket = connect(server.port, '127.0.0.1').on('error', () => {});
      socket.write(`GET /left HTTP/1.1\r\nHost: api.example.com\r\n${lines.join('')}\r\n`);
      await asked;
      socket.destroy();
      await expect.poll(() => closed).toBe(1);
    } else go();
    const { request, expected } = await asking();
    expect((await checked(await server.ask(request), expected)).proof).toBe('proven');
  });

  it('is sent without a signature if the signer fails', async () => {
    const failures: unknown[] = [];
    const fails = () => {
      throw new Error('no key');
    };
    const sign = kind.isLater ? async () => fails() : fails;
    const answerSigner = { ...(await targetSigner()), sign };
    const server = await start(kind, (_, r) => r.writeHead(201, { 'x-own': '1' }).end('hello'), {
      answerSigner,
      onSigningFailure: (error) => failures.push(error),
    });
    const { request, expected } = await asking();
    const answer = await server.ask(request);
    expect(await checked(answer, expected)).toMatchObject({
      proof: 'it has no signature of amesh',
      status: 201,
      text: 'hello',
    });
    expect(Object.keys(answer.headers)).not.toContain('unencoded-digest');
    expect(failures).toEqual([new Error('no key')]);
  });

  it('is signed for verified requests that ask, and for nobody else', async () => {
    const { answerSigner, count } = await countingSigner();
    const server = await start(kind, (_, r) => r.end('hello'), { answerSigner });
    const { request } = await asking();
    const stranger = await asking({}, { signer: await signerOf('stranger') });
    const view = { method: 'GET', target: '/', authority: 'api.example.com', headers: {} };
    const ask = request.headers['accept-signature'] as string;
    const garbage = String(request.headers.authorization).replace(/sig="?[\w-]{8}/i, (text) =>
      text.slice(0, -8).concat('AAAAAAAA'),
    );
    const plain = await signRequest(view, await signerOf('controller'), { created: NOW });
    for (const headers of [
      {},
      { 'accept-signature': ask },
      { ...request.headers, authorization: garbage },
      { ...request.headers, authorization: 'AuthMesh x' },
      stranger.request.headers,
      (await asking({}, { created: NOW - 301 })).request.headers,
      plain.headers,
    ]) {
      const answer = await server.ask({ ...view, headers });
      expect(answer.headers).not.toHaveProperty('signature');
    }
    expect(count.signed).toBe(0);
    const first = await server.ask(request);
    expect(first.headers).toHaveProperty('signature');
    const replayed = await server.ask({ ...request });
    expect([replayed.status, Object.keys(replayed.headers).includes('signature')]).toEqual([401, false]);
    expect(count.signed).toBe(1);
  });

  it('is signed only after a streamed request body was right', async () => {
    const options = { [streamUnverifiedBody]: true } as const;
    let enter = () => {};
    const read: NodeHandler = async (q, r) => {
      enter();
      const body = await q.toArray().catch(() => ['wrong']);
      r.end(body.join(''));
    };
    const server = await start(kind, read, options);
    const ask = async (target: string, sent: string) => {
      const { request, expected } = await asking({ method: 'POST', target, body: Buffer.from('right') });
      const entered = new Promise<void>((resolve) => {
        enter = resolve;
      });
      return checked(await server.ask({ ...request, body: Buffer.from(sent) }, () => entered), expected);
    };
    expect(await ask('/', 'right')).toMatchObject({ proof: 'proven', text: 'right' });
    expect(await ask('/', 'wrong')).toMatchObject({ proof: 'it has no signature of amesh', text: 'wrong' });
  });

  it('is signed even if it is a refusal', async () => {
    const server = await start(kind, (_, r) => r.end(), { require: 'orders:read' });
    const { request, expected } = await asking();
    expect(await checked(await server.ask(request), expected)).toMatchObject({
      proof: 'proven',
      status: 403,
      text: '{"error":"scope_missing","scope":"orders:read"}',
    });
    const late = await asking({ method: 'POST', body: Buffer.from('late') }, { created: NOW - 60 });
    expect(await checked(await server.ask(late.request), late.expected)).toMatchObject({
      proof: 'proven',
      status: 401,
    });
  });
});

describe('Express', () => {
  const serve = async (...handlers: unknown[]) => {
    const server = await listen(express().use(...(handlers as RequestHandler[])) as never);
    closing.push(() => server.close());
    return server;
  };

  it('signs once after two verify(), even if the second refuses', async () => {
    const { answerSigner, count } = await countingSigner();
    const verify = toMiddleware(await provingVerifier({ answerSigner }));
    const strict = toMiddleware(await provingVerifier({ answerSigner, require: 'orders:read' }));
    for (const [second, status, signed] of [
      [verify, 200, 1],
      [strict, 403, 2],
    ] as const) {
      const server = await serve(verify, second, (_q: unknown, r: ServerResponse) => r.end('once'));
      const { request, expected } = await asking();
      const answer = await receive(server.port, request);
      expect(await checked(answer, expected)).toMatchObject({ proof: 'proven', status });
      expect(String(answer.headers['signature-input']).match(/amesh=/g)).toHaveLength(1);
      expect(count.signed).toBe(signed);
    }
  });

  it('removes from a signed refusal what others have added', async () => {
    const strict = toMiddleware(await provingVerifier({ require: 'orders:read' }));
    const added: RequestHandler = (_q, r, next) => {
      for (const name of ['set-cookie', 'link', 'etag', 'location', 'content-range', 'age', 'retry-after'])
        r.setHeader(name, '1');
      r.setHeader('authmesh-registration', 'x')
        .setHeader('signature', 'amesh=:AA==:')
        .setHeader('x-own', '1');
      next();
    };
    const cookies = session({ secret: 's', resave: true, saveUninitialized: true });
    for (const method of ['GET', 'POST']) {
      const server = await serve(cookies, added, strict);
      const { request, expected } = await asking({
        method,
        ...(method === 'POST' && { body: Buffer.from('x') }),
      });
      const answer = await receive(server.port, request);
      expect(await checked(answer, expected)).toMatchObject({ proof: 'proven', status: 403 });
      expect(answer.headers['x-own']).toEqual(['1']);
    }
    const server = await serve(added, toMiddleware(await provingVerifier()));
    const view = { method: 'GET', target: '/', authority: 'api.example.com', headers: {} };
    expect((await receive(server.port, view)).headers).toHaveProperty('set-cookie'); // not signed: as before
  });

  it.each(['before', 'after'])('lets a writer wait with compression %s', async (where) => {
    const { answerSigner, go, asked } = await slowSigner();
    const verify = toMiddleware(await provingVerifier({ answerSigner }));
    const compress = compression({ threshold: 0 });
    const piece = Buffer.alloc(16_384, 'a');
    let pieces = 0;
    const stack = where === 'before' ? [compress, verify] : [verify, compress];
    const server = await serve(...stack, async (_q: unknown, r: ServerResponse) => {
      r.setHeader('content-type', 'text/plain');
      r.flushHeaders();
      if (where === 'before') await asked;
      while (pieces++ < 100 && r.write(piece));
      const drained = once(r, 'drain');
      go();
      await drained;
      r.end();
    });
    const { request, expected } = await asking({ headers: { 'accept-encoding': 'gzip' } });
    const answer = await receive(server.port, request);
    expect(answer.headers['content-encoding']).toEqual(['gzip']);
    const seen = await checked(answer, expected);
    expect([seen.proof, seen.text.length]).toEqual(['stream', 16_384 * pieces]);
  });

  it('answers pipelined requests in their order, and one that waits for 100 Continue', async () => {
    const server = await serve(
      toMiddleware(await provingVerifier()),
      async (q: { url: string; toArray(): Promise<Buffer[]> }, r: ServerResponse) => {
        const body = Buffer.concat(await q.toArray());
        r.end(`${q.url} ${body}`);
      },
    );
    const client = await RawClient.connect(server.port);
    const asked = await Promise.all(
      ['/1', '/2', '/3'].map((target) => asking({ method: 'POST', target, body: Buffer.from('body') })),
    );
    for (const [i, { request }] of asked.entries()) {
      const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\r\n`);
      const more = `Content-Length: 4\r\n${i === 2 ? 'Expect: 100-continue\r\n' : ''}`;
      client.write(
        `POST ${request.target} HTTP/1.1\r\nHost: api.example.com\r\n${lines.join('')}${more}\r\nbody`,
      );
    }
    for (const { request, expected } of asked) {
      let answer = await client.response('POST');
      if (answer.status === 100) answer = await client.response('POST');
      const seen = await checked({ ...answer, body: Buffer.from(answer.body) }, expected);
      expect(seen).toMatchObject({ proof: 'proven', text: `${request.target} body` });
    }
    client.destroy();
  });
});
