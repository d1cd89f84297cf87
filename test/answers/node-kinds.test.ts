import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import type { RequestView } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signed, verifierAt } from '../support/core';
import { asking, checked, provingVerifier } from '../support/proofs';
import { kindsAndSignings, type NodeHandler, type ProvingServer } from '../support/proving-servers';

const MIB = 1_048_576;
const big = 'x'.repeat(MIB + 1);
const whole = 'y'.repeat(MIB);

/** Of `hello`, and of another text: nobody can tell which one counts. */
const TWO_DIGESTS =
  'sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:, sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:';

interface Case {
  readonly answer: NodeHandler;
  readonly proof: 'proven' | 'stream';
  readonly text?: string;
  readonly status?: number;
  readonly request?: Partial<RequestView>;
  /** Not over HTTP/2, which has no such thing. */
  readonly isHttp1Only?: boolean;
  readonly covered?: readonly string[];
}

const asCalled = (response: ServerResponse, name: 'write' | 'end', ...args: unknown[]) =>
  new Promise((resolve) => (response[name] as (...args: unknown[]) => unknown)(...args, resolve));

/** With a header: over HTTP/2, setHeader() returns nothing. */
function having(response: ServerResponse, name: string, value: string | number | string[]): ServerResponse {
  response.setHeader(name, value);
  return response;
}

function inPieces(response: ServerResponse, ...pieces: string[]): void {
  for (const piece of pieces.slice(0, -1)) response.write(piece);
  response.end(pieces.at(-1));
}

/** Every way in which a handler answers, and whether its body is proven. */
const cases: Readonly<Record<string, Case>> = {
  'a whole text': { answer: (_, r) => r.end('hello'), proof: 'proven', text: 'hello' },
  'whole bytes': { answer: (_, r) => r.end(Buffer.from([0x68, 0x69])), proof: 'proven', text: 'hi' },
  'a text in another encoding': { answer: (_, r) => r.end('6869', 'hex'), proof: 'proven', text: 'hi' },
  'an empty body': { answer: (_, r) => r.end(), proof: 'proven', text: '' },
  'an empty text': { answer: (_, r) => r.end(''), proof: 'proven', text: '' },
  'only a callback of end()': { answer: (_, r) => asCalled(r, 'end'), proof: 'proven', text: '' },
  'a callback of end()': { answer: (_, r) => asCalled(r, 'end', 'hi'), proof: 'proven', text: 'hi' },
  'a callback of end() after its encoding': {
    answer: (_, r) => asCalled(r, 'end', '6869', 'hex'),
    proof: 'proven',
    text: 'hi',
  },
  'a status and a reason': {
    answer: (_, r) => r.writeHead(201, { 'content-type': 'text/plain' }).end('made'),
    proof: 'proven',
    status: 201,
    text: 'made',
    covered: ['content-type', 'unencoded-digest'],
  },
  'a reason phrase': {
    answer: (_, r) => r.writeHead(418, 'Teapot', { etag: '"1"' }).end('tea'),
    proof: 'proven',
    status: 418,
    covered: ['unencoded-digest', 'etag'],
    isHttp1Only: true, // there it only warns
  },
  'raw header lines': {
    answer: (_, r) => r.writeHead(200, ['set-cookie', 'a=1', 'etag', '"1"']).end('x'),
    proof: 'proven',
    covered: ['unencoded-digest', 'etag', 'set-cookie'],
  },
  'several cookies': {
    answer: (_, r) => having(r, 'set-cookie', ['a=1, 2', 'b=3']).end('x'),
    proof: 'proven',
    covered: ['unencoded-digest', 'set-cookie'],
  },
  'a cookie that is not plain ASCII, before a text': {
    answer: (_, r) => having(r, 'set-cookie', 'a=ü').end('x'),
    proof: 'proven',
    covered: ['unencoded-digest', 'set-cookie'],
  },
  'a cookie that is not plain ASCII, before pieces': {
    answer: (_, r) => inPieces(having(having(r, 'set-cookie', 'a=\xff'), 'content-length', 4), 'ab', 'cd'),
    proof: 'proven',
    text: 'abcd',
    covered: ['unencoded-digest', 'set-cookie'],
  },
  'a cookie that is not plain ASCII, before a stream': {
    answer: (_, r) => inPieces(having(r, 'set-cookie', 'a=ü'), 'ab', 'cd'),
    proof: 'stream',
    text: 'abcd',
    covered: ['set-cookie', 'authmesh-body'],
  },
  'a cookie that is not plain ASCII, in a head of its own': {
    answer(_, r) {
      r.setHeader('set-cookie', 'a=ü');
      r.flushHeaders();
      setImmediate(() => r.end('x'));
    },
    proof: 'stream',
    text: 'x',
    covered: ['set-cookie', 'authmesh-body'],
  },
  'a cookie that is not plain ASCII, in a head of its own, before no body': {
    answer(_, r) {
      having(r, 'set-cookie', 'a=ü').statusCode = 204;
      r.flushHeaders();
      setImmediate(() => r.end());
    },
    proof: 'proven',
    status: 204,
    covered: ['set-cookie'],
  },
  'headers that are appended': {
    answer(_, r) {
      r.appendHeader('set-cookie', 'a=1');
      r.appendHeader('set-cookie', 'b=2');
      r.end('x');
    },
    proof: 'proven',
    covered: ['unencoded-digest', 'set-cookie'],
  },
  'a number as a header': {
    answer: (_, r) => having(r, 'retry-after', 5).writeHead(503).end(),
    proof: 'proven',
    status: 503,
    covered: ['unencoded-digest', 'retry-after'],
  },
  'a field of amesh': {
    answer: (_, r) => having(r, 'authmesh-registration', 'x').end('x'),
    proof: 'proven',
    covered: ['unencoded-digest', 'authmesh-registration'],
  },
  'a redirect': {
    answer: (_, r) => r.writeHead(302, { location: '/elsewhere' }).end(),
    proof: 'proven',
    status: 302,
    covered: ['unencoded-digest', 'location'],
  },
  'pieces of an announced length': {
    async answer(_, r) {
      r.setHeader('content-length', 10);
      const piece = Buffer.from('12345');
      await asCalled(r, 'write', piece);
      piece.fill('0'); // it belongs to the handler again
      r.end('67890');
    },
    proof: 'proven',
    text: '1234567890',
  },
  'all of an announced length, and later the end': {
    async answer(_, r) {
      r.writeHead(200, { 'content-length': '5' });
      await asCalled(r, 'write', '12345');
      setImmediate(() => r.end());
    },
    proof: 'proven',
    text: '12345',
  },
  'a stream of an announced length': {
    async answer(_, r) {
      r.setHeader('content-length', MIB);
      await pipeline(Readable.from(whole.match(/.{1,65536}/g) as string[]), r);
    },
    proof: 'proven',
    text: whole,
  },
  'as much as may be held back': { answer: (_, r) => r.end(whole), proof: 'proven', text: whole },
  'a byte more than may be held back': { answer: (_, r) => r.end(big), proof: 'stream', text: big },
  'a longer announced length': {
    answer: (_, r) => having(r, 'content-length', big.length).end(big),
    proof: 'stream',
  },
  'a long stream': {
    async answer(_, r) {
      await pipeline(Readable.from(Array.from({ length: 64 }, () => whole.slice(0, 65_536))), r);
    },
    proof: 'stream',
    text: 'y'.repeat(4 * MIB),
  },
  'pieces of an unknown length': {
    answer: (_, r) => inPieces(r, 'a', 'b', 'c'),
    proof: 'stream',
    text: 'abc',
  },
  'pieces with callbacks': {
    async answer(_, r) {
      await asCalled(r, 'write', 'a');
      await asCalled(r, 'write', '62', 'hex');
      await asCalled(r, 'end', 'c');
    },
    proof: 'stream',
    text: 'abc',
  },
  'a head that is flushed': {
    async answer(_, r) {
      r.flushHeaders();
      setImmediate(() => r.end('later'));
    },
    proof: 'stream',
    text: 'later',
  },
  'server-sent events': {
    answer(_, r) {
      r.writeHead(200, { 'content-type': 'text/event-stream' });
      r.write('data: 1\n\n');
      setImmediate(() => r.end('data: 2\n\n'));
    },
    proof: 'stream',
    text: 'data: 1\n\ndata: 2\n\n',
    covered: ['content-type', 'authmesh-body'],
  },
  'a piped stream': {
    answer: (_, r) => void Readable.from(['a', 'b']).pipe(r),
    proof: 'stream',
    text: 'ab',
  },
  'a digest of its own': {
    answer(_, r) {
      r.setHeader('unencoded-digest', 'sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:');
      inPieces(r, 'hello ', 'world');
    },
    proof: 'proven',
    text: 'hello world',
  },
  'a digest of another kind': {
    answer: (_, r) => having(r, 'unencoded-digest', 'sha-512=:AA==:').end('hello'),
    proof: 'proven',
    text: 'hello',
  },
  'two digests of the same kind': {
    answer: (_, r) => having(r, 'unencoded-digest', TWO_DIGESTS).end('hello'),
    proof: 'proven',
    text: 'hello',
  },
  'a stream with a digest of another kind': {
    answer: (_, r) => void Readable.from(['a', 'b']).pipe(having(r, 'unencoded-digest', 'sha-512=:AA==:')),
    proof: 'stream',
    text: 'ab',
  },
  'a coded body of an announced length': {
    answer: (_, r) => having(r, 'content-encoding', 'gzip').end(gzipSync('plain')),
    proof: 'proven',
    text: 'plain',
  },
  'a coded body that decodes to too much': {
    answer: (_, r) => having(r, 'content-encoding', 'gzip').end(gzipSync(big)),
    proof: 'stream',
    text: big,
  },
  'an unknown coding': {
    answer: (_, r) => having(r, 'content-encoding', 'secret').end('????'),
    proof: 'stream',
  },
  'a status without a body': { answer: (_, r) => r.writeHead(204).end(), proof: 'proven', status: 204 },
  'status 205': { answer: (_, r) => r.writeHead(205).end(), proof: 'proven', status: 205 },
  'status 304 to a condition': {
    answer: (_, r) => r.writeHead(304, { etag: '"1"' }).end(),
    proof: 'proven',
    status: 304,
    request: { headers: { 'if-none-match': '"1"' } },
  },
  HEAD: {
    answer: (_, r) => having(r, 'content-length', 5).end(),
    proof: 'proven',
    request: { method: 'HEAD' },
    text: '',
  },
  'HEAD with a body that Node drops': {
    answer: (_, r) => inPieces(r, 'a', 'b'),
    proof: 'proven',
    request: { method: 'HEAD' },
    text: '',
  },
  'a part that was asked for': {
    answer: (_, r) => r.writeHead(206, { 'content-range': 'bytes 0-1/5' }).end('he'),
    proof: 'proven',
    status: 206,
    request: { headers: { range: 'bytes=0-1' } },
  },
  'an answer to a body': {
    async answer(q, r) {
      r.end(Buffer.concat(await q.toArray()));
    },
    proof: 'proven',
    text: 'given',
    request: { method: 'POST', body: Buffer.from('given') },
  },
  trailers: {
    answer(_, r) {
      if ('strictContentLength' in r) r.writeHead(200, { trailer: 'x-after' });
      r.write('body');
      r.addTrailers({ 'x-after': '1' });
      r.end();
    },
    proof: 'stream',
    text: 'body',
  },
  'early hints': {
    answer(_, r) {
      r.writeEarlyHints({ link: '</style.css>; rel=preload' });
      r.end('body');
    },
    proof: 'proven',
    text: 'body',
  },
  'another answer after one that Node does not take': {
    answer(_, r) {
      try {
        r.statusCode = 99;
        r.end('longer than the other');
      } catch {
        r.statusCode = 500;
        r.end('failed');
      }
    },
    proof: 'proven',
    status: 500,
    text: 'failed',
    isHttp1Only: true, // there the status is refused when it is set
  },
  'the proof of another answer': {
    answer(_, r) {
      r.setHeader('signature-input', 'amesh=("@status");created=1');
      r.setHeader('signature', 'amesh=:AAAA:');
      r.setHeader('authmesh-key', 'x');
      r.setHeader('authmesh-body', 'unsigned');
      r.end('passed on');
    },
    proof: 'proven',
    covered: ['unencoded-digest'],
  },
};

describe.each(kindsAndSignings)('$name', ({ kind, isLater, start }) => {
  let server: ProvingServer;
  const failures: unknown[] = [];
  const answer: NodeHandler = async (request, response) => {
    response.on('error', (error) => failures.push(error));
    await cases[names[Number(request.url?.slice(1))] as string]?.answer(request, response);
  };
  const names = Object.keys(cases).filter((key) => kind !== 'node:http2' || !cases[key]?.isHttp1Only);

  beforeAll(async () => {
    server = await start(await provingVerifier({ isLater }), answer);
  });
  afterAll(() => server.close());

  it.each(names)('proves %s', async (key) => {
    const { proof, text, status = 200, request: given, covered } = cases[key] as Case;
    const { request, expected } = await asking({ target: `/${names.indexOf(key)}`, ...given });
    const answer = await server.ask(request);
    const seen = await checked(answer, expected);
    expect({ proof: seen.proof, status: seen.status }).toEqual({ proof, status });
    if (text !== undefined) expect(seen.text === text || seen.text).toBe(true);
    if (covered !== undefined) expect(seen.covered).toEqual(covered);
    expect(failures).toEqual([]);
  });

  it('answers callers that do not ask as before, byte for byte', async () => {
    const without = await start(await verifierAt(), (request, response) => answer(request, response));
    try {
      for (const key of names) {
        const given = cases[key]?.request ?? {};
        const request = await signed({ target: `/${names.indexOf(key)}`, ...given });
        const [now, before] = [await server.sees(request), await without.sees(request)];
        expect([key, now]).toEqual([key, before]);
        expect(now).not.toContain('amesh-answer');
      }
    } finally {
      await without.close();
    }
  });
});
