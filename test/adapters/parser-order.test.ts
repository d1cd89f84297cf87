import { gzipSync } from 'node:zlib';
import type { RequestHandler } from 'express';
import multer from 'multer';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { frameworks } from '../support/frameworks';
import { latest } from '../support/full';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { exchange, head } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

/** What Cloud Functions, Firebase, NestJS and many an application do in the hook of their parser. */
const leave =
  (toRawBody: (bytes: Buffer) => unknown) => (request: object, _response: unknown, bytes: Buffer) =>
    void Object.assign(request, { rawBody: toRawBody(bytes) });

const NO_BYTES =
  'Put amesh.verify() before it, or use express.json({ verify: amesh.rawBody }), or rawBody: true in NestJS.';
const NO_TEXT = 'Put amesh.verify() before it, or use express.raw().';
const INFLATED = 'Put amesh.verify() before the parser.';

describe.each(latest(frameworks))('parsers and verify() in $name', ({ express }) => {
  let machines: Machines;
  let server: Listening;
  let handled: number;

  const verify: RequestHandler = (request, response, next) => middleware(request, response, next);
  let middleware: ReturnType<Machines['target']['verify']>;

  const chains: Record<string, RequestHandler[]> = {};
  beforeAll(async () => {
    machines = await createMachines();
    middleware = machines.target.verify();
    const { rawBody } = machines.target;
    Object.assign(chains, {
      '/json-first': [express.json(), verify],
      '/json-text-first': [express.json({ strict: false }), verify],
      '/urlencoded-first': [express.urlencoded({ extended: true }), verify],
      '/multer-first': [multer().any(), verify],
      '/text-first': [express.text({ type: '*/*' }), verify],
      '/raw-first': [express.raw({ type: '*/*' }), verify],
      '/rawbody-first': [express.json({ verify: rawBody }), verify],
      '/rawbody-urlencoded-first': [express.urlencoded({ extended: true, verify: rawBody }), verify],
      '/left-by-cloud-functions': [express.json({ verify: leave((bytes) => bytes) }), verify],
      '/left-as-text': [express.json({ verify: leave(String) }), verify],
      '/left-another': [express.json({ verify: leave(() => Buffer.from('{"a":2}')) }), verify],
      '/left-empty': [express.json({ verify: leave(() => Buffer.of()) }), verify],
      '/left-an-object': [express.json({ verify: leave(() => ({ a: 1 })) }), verify],
      '/left-as-sent': [
        ((request, _response, next) => {
          request.toArray().then((chunks) => {
            Object.assign(request, { rawBody: Buffer.concat(chunks), body: { a: 1 } });
            next();
          });
        }) satisfies RequestHandler,
        verify,
      ],
      '/json-after': [verify, express.json()],
      '/twice': [verify, verify, express.json()],
      '/twice-around-a-parser': [verify, express.json(), verify],
      '/twice-behind-a-parser': [express.json({ verify: rawBody }), verify, verify],
      '/stricter': [verify, machines.target.verify({ maxBodyBytes: 5 }), express.json()],
      '/stricter-hosts': [verify, machines.target.verify({ hosts: ['api.example.com'] }), express.json()],
      '/other-store': [verify, machines.targetWith({}).verify(), verify, express.json()],
    });
    const app = express();
    for (const [path, handlers] of Object.entries(chains)) {
      app.post(path, ...handlers, (request, response) => {
        handled++;
        response.json({ body: Buffer.isBuffer(request.body) ? request.body.toString('hex') : request.body });
      });
    }
    server = await listen(app);
  });
  afterAll(async () => {
    await server.close();
    await machines.remove();
  });
  beforeEach(() => {
    machines.refusals.length = 0;
    handled = 0;
  });

  /** Sends it with a Content-Length, or in one chunk. */
  async function send(
    target: string,
    type: string,
    body: Uint8Array | string,
    { chunked = false, encoding = '' } = {},
  ) {
    const headers = {
      ...(type === '' ? {} : { 'content-type': type }),
      ...(encoding === '' ? {} : { 'content-encoding': encoding }),
    };
    const raw = await signedRaw(machines.signer, server.authority, { method: 'POST', target, headers, body });
    return sendAgain(raw, chunked);
  }

  function sendAgain(raw: Awaited<ReturnType<typeof signedRaw>>, chunked = false) {
    const { line, headers, body } = raw;
    return chunked
      ? exchange(
          server.port,
          head(line, [...headers, 'Transfer-Encoding: chunked']),
          `${body.length.toString(16)}\r\n`,
          body,
          '\r\n0\r\n\r\n',
        )
      : exchange(server.port, head(line, [...headers, `Content-Length: ${body.length}`]), body);
  }

  const codes = () => machines.refusals.map(({ code }) => code);

  function expectOrderingError(response: { status: number; body: string }, fix: string) {
    expect(codes()).toEqual(['body_parser_ordering_error']);
    expect(machines.refusals[0]?.fix).toBe(fix);
    expect(response.status).toBe(500);
    expect(response.body).toBe('{"error":"body_parser_ordering_error"}');
    expect(handled).toBe(0);
  }

  function expectBody(response: { status: number; body: string }, body: unknown) {
    expect(codes()).toEqual([]);
    expect(response.status).toBe(200);
    expect(JSON.parse(response.body).body).toEqual(body);
    expect(handled).toBe(1);
  }

  const multipart = '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n';

  describe.each([false, true])('chunked: %s', (chunked) => {
    it.each([
      ['/json-first', 'application/json', '{"a":1}'],
      ['/json-first', 'application/json', '{}'],
      ['/urlencoded-first', 'application/x-www-form-urlencoded', 'a=1'],
      ['/multer-first', 'multipart/form-data; boundary=x', multipart],
    ])('%s, with %s, has left only an object', async (target, type, body) => {
      expectOrderingError(await send(target, type, body, { chunked }), NO_BYTES);
    });

    it.each([
      ['/text-first', 'text/plain'],
      ['/raw-first', 'application/octet-stream'],
      ['/rawbody-first', 'application/json'],
    ])('%s has inflated the body', async (target, type) => {
      const body = gzipSync('{"a":1}');
      expectOrderingError(await send(target, type, body, { chunked, encoding: 'gzip' }), INFLATED);
    });

    it.each(['/raw-first', '/rawbody-first'])(
      '%s, with Content-Encoding: identity, has the bytes',
      async (target) => {
        const response = await send(target, 'application/json', '{"a":1}', { chunked, encoding: 'identity' });
        expect(codes()).toEqual([]);
        expect(response.status).toBe(200);
      },
    );

    it.each([
      ['Latin-1', 'text/plain; charset=iso-8859-1', Buffer.from('grüße', 'latin1')],
      ['Latin-1, quoted', 'text/plain; charset="ISO-8859-1"', Buffer.from('grüße', 'latin1')],
      ['UTF-16', 'text/plain; charset=utf-16le', Buffer.from('grüße', 'utf16le')],
      ['a byte order mark', 'text/plain; charset=utf-8', Buffer.from('\ufeffhello')],
      ['a byte order mark, no charset', 'text/plain', Buffer.from('\ufeffhello')],
      ['a byte order mark only', 'text/plain', Buffer.from('\ufeff')],
      ['bytes that are not UTF-8', 'text/plain', Buffer.from([0x61, 0xff, 0x62])],
      ['three bytes that decode to one U+FFFD', 'text/plain', Buffer.from([0xf0, 0x9f, 0x98])],
    ])('a text does not give back %s', async (_name, type, body) => {
      expectOrderingError(await send('/text-first', type, body, { chunked }), NO_TEXT);
    });

    it.each([
      ['UTF-8', 'text/plain; charset=UTF-8', 'grüße 😀'],
      ['no charset', 'text/plain', 'grüße 😀'],
      ['a real U+FFFD', 'text/plain', 'a\ufffdb'],
      ['ASCII in Latin-1', 'text/plain; charset=iso-8859-1', 'plain'],
      ['NUL and line ends', 'text/plain', 'a\0b\r\nc\n'],
    ])('a text gives back %s', async (_name, type, body) => {
      expectBody(await send('/text-first', type, body, { chunked }), body);
    });

    it.each([
      ['/json-first', 'text/plain'],
      ['/urlencoded-first', 'application/json'],
      ['/multer-first', 'application/json'],
      ['/text-first', ''],
      ['/raw-first', ''],
      ['/rawbody-first', 'text/plain'],
    ])('%s does not read a body of type "%s", which is not an error', async (target, type) => {
      const response = await send(target, type, '{"a":1}', { chunked });
      expect(codes()).toEqual([]);
      expect(response.status).toBe(200);
    });

    it.each(['"abc"', '"\\u0061bc"'])(
      'a text that a JSON parser has left is not what was sent: %s',
      async (body) => {
        const headers = { 'content-type': 'application/json' };
        const line = { method: 'POST', target: '/json-text-first', headers, body: 'abc' };
        const signed = await signedRaw(machines.signer, server.authority, line);
        // It parses to the three letters that were signed.
        expectOrderingError(await sendAgain({ ...signed, body: Buffer.from(body) }, chunked), NO_TEXT);
      },
    );

    it('rawBody serves express.json() and express.urlencoded()', async () => {
      expectBody(await send('/rawbody-first', 'application/json', ' { "a" : 1.0 } ', { chunked }), { a: 1 });
      const form = await send('/rawbody-urlencoded-first', 'application/x-www-form-urlencoded', 'a=%31', {
        chunked,
      });
      expect(JSON.parse(form.body).body).toEqual({ a: '1' });
    });

    it.each(['/left-by-cloud-functions', '/left-as-text', '/left-as-sent'])(
      '%s: uses the bytes of rawBody, and the digest decides',
      async (target) => {
        const raw = await signedRaw(machines.signer, server.authority, {
          method: 'POST',
          target,
          headers: { 'content-type': 'application/json; charset=utf-8' },
          body: ' { "a" : 1 } ',
        });
        // A text proves nothing of JSON where no length says how long it was.
        const isKnown = target !== '/left-as-text' || !chunked;
        if (isKnown) expectBody(await sendAgain(raw, chunked), { a: 1 });
        handled = 0;
        machines.refusals.length = 0;
        await sendAgain({ ...raw, body: Buffer.from(' { "a" : 2 } ') }, chunked);
        expect(codes()).toHaveLength(1);
        expect(handled).toBe(0);
      },
    );

    it.each([
      ['/left-another', 'content_digest_mismatch'],
      ['/left-empty', 'body_parser_ordering_error'],
      ['/left-an-object', 'body_parser_ordering_error'],
    ])('%s: %s', async (target, code) => {
      await send(target, 'application/json', '{"a":1}', { chunked });
      expect(codes()).toEqual([code]);
      expect(handled).toBe(0);
    });

    it('an empty rawBody does not prove that the body was empty', async () => {
      const headers = {
        'content-type': 'application/json',
        'content-digest': 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:',
      };
      const raw = await signedRaw(machines.signer, server.authority, {
        method: 'POST',
        target: '/left-empty',
        headers,
      });
      await sendAgain({ ...raw, body: Buffer.from('{"a":1}') }, chunked);
      expect(codes()).toEqual(['body_parser_ordering_error']);
      expect(handled).toBe(0);
    });

    it('a rawBody with Content-Encoding is used if it is as it was sent, and not if it was inflated', async () => {
      const body = gzipSync('{"a":1}');
      const options = { chunked, encoding: 'gzip' };
      expectBody(await send('/left-as-sent', 'application/json', body, options), { a: 1 });
      handled = 0;
      expectOrderingError(
        await send('/left-by-cloud-functions', 'application/json', body, options),
        INFLATED,
      );
    });

    it('a gzip body is verified as it was sent, and inflated afterwards', async () => {
      const body = gzipSync('{"a":1}');
      expectBody(await send('/json-after', 'application/json', body, { chunked, encoding: 'gzip' }), {
        a: 1,
      });
    });

    it.each(['/twice', '/twice-around-a-parser', '/twice-behind-a-parser', '/other-store'])(
      '%s: verifies one request again, and refuses its replay',
      async (target) => {
        const headers = { 'content-type': 'application/json' };
        const raw = await signedRaw(machines.signer, server.authority, {
          method: 'POST',
          target,
          headers,
          body: '{"a":1}',
        });
        expectBody(await sendAgain(raw, chunked), { a: 1 });
        const replay = await sendAgain(raw, chunked);
        expect(replay.status).toBe(401);
        expect(replay.body).toBe('{"error":"unauthorized"}');
        expect(codes()).toEqual(['replay_detected']);
        expect(handled).toBe(1);
      },
    );

    it('the stricter of two verify() applies', async () => {
      const large = await send('/stricter', 'application/json', '{"a":1}', { chunked });
      expect(large.status).toBe(413);
      expect(codes()).toEqual(['payload_too_large']);
      const misdirected = await send('/stricter-hosts', 'application/json', '{"a":1}', { chunked });
      expect(misdirected.status).toBe(421);
      expect(codes()).toEqual(['payload_too_large', 'wrong_host']);
      expect(handled).toBe(0);
    });
  });
});
