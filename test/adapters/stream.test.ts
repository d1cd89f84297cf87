import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  createServer as createHttp2Server,
  type Http2ServerResponse,
} from 'node:http2';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  type Amesh,
  isAmeshError,
  type Middleware,
  streamUnverifiedBody,
  type VerifyOptions,
} from '@authmesh/sdk';
import { type AllowListSource, createAllowList, createVerifier } from '@authmesh/sdk/core';
import { verify as verifyExpress } from '@authmesh/sdk/express';
import { authMesh } from '@authmesh/sdk/fastify';
import { verify as verifyHono } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import express, { type ErrorRequestHandler, type Request, type Response } from 'express';
import type { FastifyInstance } from 'fastify';
import { Hono } from 'hono';
import multer from 'multer';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { fastifies } from '../support/fastify';
import { frameworks } from '../support/frameworks';
import { latest, times } from '../support/full';
import { connectHttp2, http2Exchange } from '../support/http2';
import { listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { hashOf, send, type Upload } from '../support/upload';

const MIB = 1_048_576;
/** A body that is far larger than what may be held of it, and as large as may be sent. */
const LARGE_MIB = times(16, 32, 64);
const LARGE = LARGE_MIB * MIB;
/** How often the memory that is alive is looked at. */
const MARK_BYTES = LARGE / 4;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
/** Twice, since what one finds is swept while the program goes on. */
const collectGarbage = () => [gc(), gc()];

const options = { [streamUnverifiedBody]: true, maxBodyBytes: LARGE } as const;

/** What a handler has seen of a body. */
interface Seen {
  bytes: number;
  sha256: string;
  /** `end`, or the code or message of the error. */
  outcome: string;
}

let machines: Machines;
let amesh: Amesh;
let seen: Seen[];
let peakBytes: number;
/** Whether it is worth the time. */
let watchesMemory: boolean;

const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown) => {
  console.log((reason as Error).stack);
  unhandled.push(reason);
};
beforeAll(async () => {
  process.on('unhandledRejection', onUnhandled);
  process.on('uncaughtException', onUnhandled);
  machines = await createMachines();
  amesh = machines.target;
});
afterAll(async () => {
  await machines.remove();
  process.off('unhandledRejection', onUnhandled);
  process.off('uncaughtException', onUnhandled);
});
beforeEach(() => {
  seen = [];
  peakBytes = 0;
  watchesMemory = false;
  machines.refusals.length = 0;
});
afterEach(() => expect(unhandled).toEqual([]));

const codes = () => machines.refusals.map(({ code }) => code);

/** Reads a body as a handler would, and writes down how it went. */
async function read(body: AsyncIterable<Uint8Array>): Promise<Seen> {
  const hash = createHash('sha256');
  const state: Seen = { bytes: 0, sha256: '', outcome: 'reading' };
  seen.push(state);
  if (watchesMemory) collectGarbage();
  const before = process.memoryUsage().arrayBuffers;
  try {
    for await (const chunk of body) {
      hash.update(chunk);
      const mark = Math.floor(state.bytes / MARK_BYTES);
      state.bytes += chunk.length;
      if (!watchesMemory || Math.floor(state.bytes / MARK_BYTES) === mark) continue;
      collectGarbage();
      peakBytes = Math.max(peakBytes, process.memoryUsage().arrayBuffers - before);
    }
    state.outcome = 'end';
  } catch (error) {
    state.outcome = isAmeshError(error) ? error.code : `${(error as { code?: string }).code}`;
  }
  state.sha256 = hash.digest('hex');
  return state;
}

interface Server {
  readonly port: number;
  close(): Promise<void>;
}

const servers: Record<string, (options: VerifyOptions) => Promise<Server>> = {
  'node:http': (options) => {
    const verify = amesh.verify(options);
    return listen(
      createServer((request, response) =>
        verify(request, response, async () => {
          const { outcome } = await read(request as IncomingMessage);
          response.statusCode = outcome === 'end' ? 200 : 422;
          response.end(outcome);
        }),
      ),
    );
  },
  ...Object.fromEntries(
    latest(frameworks).map(({ name, express }) => [
      name,
      (options: VerifyOptions) => {
        const app = express();
        app.use(amesh.verify(options));
        app.post('/', async (request: Request, response: Response) => {
          const { outcome } = await read(request);
          response.status(outcome === 'end' ? 200 : 422).send(outcome);
        });
        return listen(app);
      },
    ]),
  ),
  ...Object.fromEntries(
    latest(fastifies).map(({ name, fastify }) => [
      name,
      async (options: VerifyOptions) => {
        const app = fastify() as FastifyInstance;
        await app.register(authMesh, { amesh, ...options });
        app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
        app.post('/', async (request, reply) => {
          const { outcome } = await read(request.body as IncomingMessage);
          return reply.code(outcome === 'end' ? 200 : 422).send(outcome);
        });
        const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }));
        return { port: Number(port), close: () => app.close() };
      },
    ]),
  ),
  'Hono on Node': (options) => {
    const app = new Hono();
    app.use(verifyHono({ amesh, ...options }));
    app.post('/', async (c) => {
      const { outcome } = await read(c.req.raw.body as unknown as AsyncIterable<Uint8Array>);
      return c.text(outcome, outcome === 'end' ? 200 : 422);
    });
    return listen(getRequestListener(app.fetch));
  },
  'a handler of fetch': (options) => {
    const verifier = amesh.verifier(options);
    return listen(
      getRequestListener(
        async (request: globalThis.Request, { incoming }) => {
          const { localPort } = incoming.socket as Socket;
          const verdict = await verifier.verify(request, { localPort });
          if (!verdict.ok) return verdict.response;
          const { outcome } = await read(verdict.request.body as unknown as AsyncIterable<Uint8Array>);
          return new globalThis.Response(outcome, { status: outcome === 'end' ? 200 : 422 });
        },
        { overrideGlobalObjects: false },
      ),
    );
  },
};

describe.each(Object.keys(servers))('%s', (name) => {
  const start = servers[name] as (options: VerifyOptions) => Promise<Server>;
  let server: Server;
  beforeEach(async () => {
    server = await start(options);
  });
  afterEach(() => server.close());

  const upload = (body: Upload) => send(machines.signer, server.port, body);
  /** Of another connection, after whatever has happened to the one before. */
  async function expectServing() {
    seen.length = 0;
    expect(await upload({ bytes: 100_000 })).toMatchObject({ status: 200, body: 'end' });
    expect(seen).toEqual([{ bytes: 100_000, sha256: hashOf({ bytes: 100_000 }), outcome: 'end' }]);
  }

  it(`${LARGE_MIB} MiB pass in bounded memory`, async () => {
    watchesMemory = true;
    const body = { bytes: LARGE };
    expect(await upload(body)).toMatchObject({ status: 200, body: 'end' });
    expect(seen).toEqual([{ bytes: body.bytes, sha256: hashOf(body), outcome: 'end' }]);
    expect(peakBytes).toBeLessThan(2 * MIB); // of both ends
    expect(codes()).toEqual([]);
  });

  it(`tampered-body: if the last byte of ${LARGE_MIB} MiB is changed, the stream ends with an error, and the handler can respond`, async () => {
    const response = await upload({ bytes: LARGE, flipsLastByte: true });
    expect(seen).toEqual([
      { bytes: expect.any(Number), sha256: expect.any(String), outcome: expect.any(String) },
    ]);
    expect(seen[0]?.outcome).not.toBe('end');
    expect(seen[0]?.bytes).toBeLessThan(LARGE); // the last chunk was held back
    expect(codes()).toEqual(['content_digest_mismatch']);
    expect(response).toMatchObject({ status: 422 });
    await expectServing();
  });

  it('tampered-body: a small body is refused, or ends with an error', async () => {
    const response = await upload({ bytes: 100, flipsLastByte: true });
    expect(codes()).toEqual(['content_digest_mismatch']);
    expect(seen.map(({ outcome, bytes }) => [outcome === 'end', bytes])).toEqual(
      response?.status === 401 ? [] : [[false, 0]],
    );
    expect([401, 422]).toContain(response?.status);
  });

  it.each(['content-length', 'chunked'] as const)(
    'a client that disconnects in the middle of a body, %s',
    async (framing) => {
      await upload({ bytes: 8 * MIB, sendsOnly: 3 * MIB, framing });
      await expect.poll(codes).toEqual(['body_incomplete']);
      await expect
        .poll(() => seen.map(({ outcome }) => outcome !== 'end' && outcome !== 'reading'))
        .toEqual([true]);
      await expectServing();
    },
  );

  it('more than maxBodyBytes, announced, is refused before any byte', async () => {
    const authority = `127.0.0.1:${server.port}`;
    const { line, headers } = await signedRaw(machines.signer, authority, { method: 'POST', body: 'x' });
    const response = await exchange(server.port, head(line, [...headers, `Content-Length: ${LARGE + 1}`]));
    expect([response.status, response.body]).toEqual([413, '{"error":"payload_too_large"}']);
    expect(codes()).toEqual(['payload_too_large']);
    expect(seen).toEqual([]);
  });

  it('more than maxBodyBytes, in chunks, ends with an error', async () => {
    await server.close();
    server = await start({ ...options, maxBodyBytes: MIB });
    const response = await upload({ bytes: 3 * MIB, framing: 'chunked' });
    await expect.poll(codes).toEqual(['payload_too_large']);
    await expect.poll(() => seen.map(({ outcome }) => /^(?:end|reading)$/.test(outcome))).toEqual([false]);
    if (response !== null) expect(response.status).toBe(422);
    await expectServing();
  });

  it('without a digest: is refused, as when it is read', async () => {
    const { headers } = await signedRaw(machines.signer, `127.0.0.1:${server.port}`, { method: 'POST' });
    const response = await fetch(`http://127.0.0.1:${server.port}/`, {
      method: 'POST',
      headers: Object.fromEntries(headers.slice(1).map((text) => text.split(/: (.*)/s).slice(0, 2))),
      body: new Uint8Array(10),
    });
    expect(response.status).toBe(401);
    expect(codes()).toEqual(['content_digest_missing']);
    expect(seen).toEqual([]);
  });
});

describe('behind a gate', () => {
  let server: Server;
  afterEach(() => server.close());

  /** A server that verifies, and then hands the request to a handler. */
  async function serveWith(
    handler: (request: IncomingMessage, response: ServerResponse) => void,
    ...verifies: Middleware[]
  ): Promise<void> {
    const all = verifies.length === 0 ? [amesh.verify(options)] : verifies;
    server = await listen(
      createServer((request, response) => {
        const step = (i: number): void => {
          const verify = all[i];
          if (verify === undefined) handler(request, response);
          else verify(request, response, () => step(i + 1));
        };
        step(0);
      }),
    );
  }
  const upload = (body: Upload, ...rest: [string?, string?]) =>
    send(machines.signer, server.port, body, ...rest);

  it('a handler that only waits for the end never sees it, and its connection is closed', async () => {
    let ended = 0;
    await serveWith((request) => void request.on('data', () => {}).on('end', () => ended++));
    expect(await upload({ bytes: MIB, flipsLastByte: true })).toBeNull();
    expect(ended).toBe(0);
    expect(codes()).toEqual(['content_digest_mismatch']);
  });

  it('a handler that does not read stops the client', async () => {
    let request: IncomingMessage | undefined;
    await serveWith((incoming, response) => {
      request = incoming;
      response.flushHeaders();
    });
    const sending = upload({ bytes: LARGE });
    await expect.poll(() => request?.readableLength).toBeGreaterThan(0);
    await sleep(200);
    expect(request?.readableLength).toBeLessThan(MIB);
    expect(request?.socket.bytesRead).toBeLessThan(2 * MIB);
    request?.destroy();
    await sending;
  });

  it('a handler that responds without reading the body is not a fault of the client', async () => {
    await serveWith((_request, response) => void response.end('done'));
    expect(await upload({ bytes: 4 * MIB })).toMatchObject({ status: 200, body: 'done' });
    await sleep(50);
    expect(codes()).toEqual([]);
  });

  it('a device that is revoked in the meantime does not get to the end', async () => {
    const store = { current: vi.fn() };
    const device = {
      deviceId: machines.controllerId,
      friendlyName: 'controller',
      roles: ['controller' as const],
    };
    const publicKey = Buffer.from(machines.signer.publicKey).toString('base64url');
    const lists = [
      createAllowList({ devices: [{ ...device, publicKey }] }),
      createAllowList({ devices: [] }),
    ];
    store.current.mockImplementation(() => lists[store.current.mock.calls.length > 1 ? 1 : 0]);
    const verifier = createVerifier({
      ...options,
      allowList: store as AllowListSource,
      onRefusal: (refusal) => void machines.refusals.push(refusal),
    });
    await serveWith(
      async (request, response) => void response.end((await read(request)).outcome),
      verifyExpress({ amesh: { verifier: () => verifier } }),
    );
    expect(await upload({ bytes: 4 * MIB })).toMatchObject({ body: 'unknown_device' });
    expect(codes()).toEqual(['unknown_device']);
  });

  it.each([
    ['streams twice', () => [amesh.verify(options), amesh.verify(options)]],
    ['streams, then reads', () => [amesh.verify(options), amesh.verify({ maxBodyBytes: LARGE })]],
    ['reads, then streams', () => [amesh.verify({ maxBodyBytes: LARGE }), amesh.verify(options)]],
  ])('one request %s', async (_name, verifies) => {
    const respond = async (request: IncomingMessage, response: ServerResponse) =>
      void response.end((await read(request)).outcome);
    await serveWith(respond, ...verifies());
    const body = { bytes: 4 * MIB };
    expect(await upload(body)).toMatchObject({ status: 200, body: 'end' });
    expect(seen).toEqual([{ bytes: body.bytes, sha256: hashOf(body), outcome: 'end' }]);
    seen.length = 0;
    await upload({ ...body, flipsLastByte: true });
    expect(codes()).toContain('content_digest_mismatch');
    expect(seen.map(({ outcome }) => outcome)).not.toContain('end');
  });

  it('the narrower of two limits applies', async () => {
    const narrow = { ...options, maxBodyBytes: MIB };
    const respond = async (request: IncomingMessage, response: ServerResponse) =>
      void response.end((await read(request)).outcome);
    await serveWith(respond, amesh.verify(options), amesh.verify(narrow));
    expect(await upload({ bytes: 2 * MIB, framing: 'chunked' })).toMatchObject({ body: 'payload_too_large' });
  });

  it.each([
    ['Content-Length: 6', 'abcdef'],
    ['Transfer-Encoding: chunked', '6\r\nabcdef\r\n0\r\n\r\n'],
  ])(
    'the narrower of two limits applies, even to bytes that have already arrived: %s',
    async (framing, body) => {
      const respond = async (request: IncomingMessage, response: ServerResponse) =>
        void response.end((await read(request)).outcome);
      await serveWith(respond, amesh.verify(options), amesh.verify({ ...options, maxBodyBytes: 5 }));
      const request = { method: 'POST', body: 'abcdef' };
      const { line, headers } = await signedRaw(machines.signer, `127.0.0.1:${server.port}`, request);
      // In one piece, so that all of it is here before the second looks.
      expect(await exchange(server.port, head(line, [...headers, framing]) + body)).toMatchObject({
        status: 413,
      });
      expect(codes()).toEqual(['payload_too_large']);
      expect(seen).toEqual([]);
    },
  );

  it('parsers of Express work, and see an error if the body is another one', async () => {
    const app = express();
    app.use(amesh.verify(options), multer().any(), express.raw({ type: '*/*', limit: '80mb' }));
    app.post('/', (request, response) => void response.send(`${request.body.length}`));
    app.use(
      ((error, _request, response, _next) =>
        void response.status(400).send(error.code)) as ErrorRequestHandler,
    );
    server = await listen(app);
    expect(await upload({ bytes: 4 * MIB })).toMatchObject({ body: `${4 * MIB}` });
    expect(await upload({ bytes: 4 * MIB, flipsLastByte: true })).toMatchObject({
      status: 400,
      body: 'content_digest_mismatch',
    });
    // multer pipes the request, and has no answer of its own to an error in it.
    const type = 'multipart/form-data; boundary=x';
    expect((await upload({ bytes: MIB, flipsLastByte: true }, '/', type))?.status).not.toBe(200);
  });

  it('trailers are refused', async () => {
    await serveWith(async (request, response) => void response.end((await read(request)).outcome));
    const { line, headers } = await signedRaw(machines.signer, `127.0.0.1:${server.port}`, {
      method: 'POST',
      body: 'abc',
    });
    const client = await RawClient.connect(server.port);
    client.write(head(line, [...headers, 'Transfer-Encoding: chunked']), '1\r\na\r\n');
    await expect.poll(() => seen.length).toBe(1);
    client.write('2\r\nbc\r\n0\r\nX: y\r\n\r\n');
    expect((await client.response()).body).toBe('malformed_header');
    expect(codes()).toEqual(['malformed_header']);
    client.destroy();
  });

  it('over HTTP/2', async () => {
    const verify = amesh.verify(options);
    const pair = await connectHttp2(
      createHttp2Server((request, response) =>
        verify(request, response, async () => void response.end((await read(request as never)).outcome)),
      ),
    );
    server = pair;
    const body = Buffer.alloc(4 * MIB, 7);
    const first = await signedRaw(machines.signer, `127.0.0.1:${pair.port}`, { method: 'POST', body });
    const headers = [...first.headers];
    const fields = () => ({
      ':method': 'POST',
      ':path': '/',
      ':authority': `127.0.0.1:${pair.port}`,
      ...Object.fromEntries(headers.slice(1).map((text) => text.split(/: (.*)/s).slice(0, 2))),
    });
    expect((await http2Exchange(pair.session, fields(), body)).body).toBe('end');

    const again = await signedRaw(machines.signer, `127.0.0.1:${pair.port}`, { method: 'POST', body });
    headers.splice(0, headers.length, ...again.headers);
    const flipped = Buffer.from(body);
    flipped[flipped.length - 1] = 8;
    expect((await http2Exchange(pair.session, fields(), flipped)).body).toBe('content_digest_mismatch');

    const third = await signedRaw(machines.signer, `127.0.0.1:${pair.port}`, { method: 'POST', body });
    headers.splice(0, headers.length, ...third.headers);
    const stream = pair.session.request(fields());
    stream.on('error', () => {});
    stream.write(body.subarray(0, MIB));
    await expect.poll(() => seen.length).toBe(3);
    stream.destroy();
    // Node closes the request before the gate can say why.
    await expect.poll(() => seen[2]?.outcome).toMatch(/^(?:body_incomplete|ERR_STREAM_PREMATURE_CLOSE)$/);
    expect(codes()).toEqual(['content_digest_mismatch', 'body_incomplete']);
  });

  describe('over HTTP/2, a body that the handler leaves unread', () => {
    const closed = async (stream: ClientHttp2Stream) => {
      const status = new Promise<number>((resolve) =>
        stream.on('response', (head) => resolve(Number(head[':status']))),
      );
      stream.on('error', () => {}).resume();
      const at = await Promise.race([status, once(stream, 'close').then(() => 0)]);
      if (!stream.closed) await once(stream, 'close');
      return at;
    };
    async function open(
      answer: (response: Http2ServerResponse) => void,
      bytes: number,
    ): Promise<{ stream: ClientHttp2Stream; body: Buffer; session: ClientHttp2Session }> {
      const verify = amesh.verify(options);
      const pair = await connectHttp2(
        createHttp2Server((request, response) => verify(request, response, () => answer(response))),
      );
      server = pair;
      const body = Buffer.alloc(bytes, 7);
      const authority = `127.0.0.1:${pair.port}`;
      const signed = await signedRaw(machines.signer, authority, { method: 'POST', body });
      const stream = pair.session.request({
        ':method': 'POST',
        ':path': '/',
        ':authority': authority,
        ...Object.fromEntries(signed.headers.slice(1).map((text) => text.split(/: (.*)/s).slice(0, 2))),
      });
      return { stream, body, session: pair.session };
    }
    const alive = async (session: ClientHttp2Session) => {
      const ping = promisify(session.ping.bind(session)) as () => Promise<number>;
      expect(await ping()).toBeGreaterThan(0);
      expect(codes()).toEqual([]);
    };

    it.each([5, 4 * MIB])('ends with the answer (%i bytes)', async (bytes) => {
      const { stream, body, session } = await open((response) => void response.end('done'), bytes);
      stream.end(body);
      expect(await closed(stream)).toBe(200);
      await alive(session);
    });

    it('ends with the answer, even if part of it never comes', async () => {
      const { stream, body, session } = await open((response) => void response.end('done'), MIB);
      stream.write(body.subarray(0, 5));
      expect(await closed(stream)).toBe(200);
      await alive(session);
    });

    it.each(['some', 'all'])('ends if the client cancels after %s of it has come', async (part) => {
      let isAsked = false;
      let late: (() => void) | undefined;
      const { stream, body, session } = await open((response) => {
        isAsked = true;
        late = () => void response.end('late');
      }, 5);
      if (part === 'all') stream.end(body);
      else stream.write(body.subarray(0, 2));
      await expect.poll(() => isAsked).toBe(true);
      stream.on('error', () => {}).close(constants.NGHTTP2_CANCEL);
      await once(stream, 'close');
      await sleep(20);
      late?.();
      await sleep(20);
      const ping = promisify(session.ping.bind(session)) as () => Promise<number>;
      expect(await ping()).toBeGreaterThan(0);
      expect(codes().filter((code) => code !== 'body_incomplete')).toEqual([]);
    });
  });
});

describe('the option', () => {
  it('is true or false, and its name is the symbol itself', () => {
    expect(() => amesh.verify({ [streamUnverifiedBody]: 1 as never })).toThrow(
      'streamUnverifiedBody must be true or false.',
    );
    expect(() => amesh.verify({ streamUnverifiedBody: true } as never)).toThrow(
      /has no option "streamUnverifiedBody"/,
    );
    const other = Symbol('streamUnverifiedBody');
    expect(() => amesh.verify({ [other]: true } as never)).toThrow(
      /has no option Symbol\(streamUnverifiedBody\)/,
    );
  });

  it('is off by default, and with false', async () => {
    for (const verify of [amesh.verify(), amesh.verify({ [streamUnverifiedBody]: false })]) {
      const server = await listen(
        createServer((request, response) => verify(request, response, () => response.end())),
      );
      const response = await send(machines.signer, server.port, { bytes: 100_000, flipsLastByte: true });
      expect(response?.status).toBe(401);
      await server.close();
    }
  });
});
