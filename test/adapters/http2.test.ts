import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  connect,
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import type { Authenticated } from '@authmesh/sdk';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createCertificate } from '../support/certificate';
import { connectHttp2, type Http2Pair, http2Exchange, http2Response } from '../support/http2';
import { createMachines, type Machines } from '../support/machines';
import { head } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

const MAX = 300_000;

const tls = createCertificate();

type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

describe.each([
  { name: 'cleartext', create: (handler: Handler): Http2Server => createServer(handler) },
  {
    name: 'TLS',
    create: (handler: Handler): Http2SecureServer => createSecureServer({ ...tls }, handler),
  },
])('HTTP/2, $name', ({ name, create }) => {
  describe('through the compatibility API', () => {
    let machines: Machines;
    let pair: Http2Pair;
    let authority: string;
    let handled: number;
    let streams: ServerHttp2Stream[];

    beforeAll(async () => {
      machines = await createMachines();
      const verify = machines.target.verify({ maxBodyBytes: MAX });
      // Its nonce store is still asked when the client goes away.
      const slow = machines.target.verify({ nonceStore: { claim: () => sleep(100, true) } });
      const server = create((request, response) =>
        (request.url === '/slow' ? slow : verify)(request, response, () => {
          handled++;
          const { authMesh } = request as Authenticated<typeof request>;
          const answer = (body: string) =>
            response.end(JSON.stringify({ from: authMesh.friendlyName, body }));
          const chunks: Buffer[] = [];
          switch (request.url) {
            case '/unread':
              answer('unread');
              break;
            case '/twice':
              verify(request, response, () =>
                request.on('data', (c) => chunks.push(c as Buffer)).on('end', end),
              );
              break;
            case '/late':
              setTimeout(() => request.on('data', (c) => chunks.push(c as Buffer)).on('end', end), 20);
              break;
            default:
              request.on('data', (c) => chunks.push(c as Buffer)).on('end', end);
          }
          function end() {
            answer(Buffer.concat(chunks).toString('base64'));
          }
        }),
      );
      server.on('stream', (stream) => streams.push(stream as ServerHttp2Stream));
      pair = await connectHttp2(server, name === 'TLS' ? tls.cert : undefined);
      authority = `127.0.0.1:${pair.port}`;
    });
    afterAll(async () => {
      await pair?.close();
      await machines?.remove();
    });
    beforeEach(() => {
      machines.refusals.length = 0;
      handled = 0;
      streams = [];
    });

    const codes = () => machines.refusals.map(({ code }) => code);

    async function signedHeaders(
      method: string,
      target: string,
      body?: Uint8Array,
      extra: Record<string, string> = {},
    ): Promise<OutgoingHttpHeaders> {
      const request = { method, target, headers: extra, ...(body ? { body } : {}) };
      const { headers } = await signedRaw(machines.signer, authority, request);
      const fields = headers.slice(1).map((line) => line.split(/: (.*)/s).slice(0, 2));
      return {
        ':method': method,
        ':path': target,
        ':authority': authority,
        ...Object.fromEntries(fields),
      };
    }

    async function expectServing() {
      const response = await http2Exchange(pair.session, await signedHeaders('GET', '/'));
      expect(JSON.parse(response.body)).toEqual({ from: 'controller', body: '' });
    }

    it.each(['/', '/late', '/twice'])('%s: a body goes through, byte for byte', async (target) => {
      for (const size of [1, 16_384, 200_000, MAX]) {
        const body = randomBytes(size);
        const response = await http2Exchange(pair.session, await signedHeaders('POST', target, body), body);
        expect(codes()).toEqual([]);
        expect(JSON.parse(response.body)).toEqual({ from: 'controller', body: body.toString('base64') });
        expect(response.headers['cache-control']).toBe('private');
      }
    });

    it.each(['/', '/late', '/twice'])('%s: requests without a body end', async (target) => {
      // Ended by the headers; by an empty frame at once; by an empty frame that comes later.
      const at = async (
        send: (stream: ReturnType<typeof pair.session.request>) => unknown,
        endStream: boolean,
      ) => {
        const stream = pair.session.request(await signedHeaders('POST', target), { endStream });
        await send(stream);
        expect(JSON.parse((await http2Response(stream)).body)).toEqual({ from: 'controller', body: '' });
      };
      await at(() => {}, true);
      await at((stream) => stream.end(), false);
      await at(async (stream) => {
        await sleep(20);
        stream.end();
      }, false);
      expect(codes()).toEqual([]);
    });

    it('a body that arrives in small pieces', async () => {
      const body = randomBytes(40);
      const stream = pair.session.request(await signedHeaders('POST', '/', body));
      for (const byte of body) {
        stream.write(Uint8Array.of(byte));
        await sleep(1);
      }
      stream.end();
      const response = await http2Response(stream);
      expect(JSON.parse(response.body)).toEqual({ from: 'controller', body: body.toString('base64') });
    });

    it('a handler that leaves the body unread', async () => {
      const body = randomBytes(100_000);
      const response = await http2Exchange(pair.session, await signedHeaders('POST', '/unread', body), body);
      expect(JSON.parse(response.body)).toEqual({ from: 'controller', body: 'unread' });
      await expectServing();
    });

    it('authority-mismatch: host may not differ from :authority', async () => {
      const headers = await signedHeaders('GET', '/');
      const same = await http2Exchange(pair.session, { ...headers, host: authority });
      expect(same.status).toBe(200);
      for (const host of ['evil.example.com', `${authority}0`, '127.0.0.1']) {
        machines.refusals.length = 0;
        const response = await http2Exchange(pair.session, { ...(await signedHeaders('GET', '/')), host });
        expect(response.status).toBe(400);
        expect(response.body).toBe('{"error":"malformed_header"}');
        expect(codes()).toEqual(['malformed_header']);
      }
      await expectServing();
    });

    it('host is used if there is no :authority', async () => {
      const { ':authority': host, ...headers } = await signedHeaders('GET', '/');
      expect((await http2Exchange(pair.session, { ...headers, host: host as string })).status).toBe(200);
    });

    it('wrong-host: refuses an :authority that is not ours', async () => {
      const headers = { ...(await signedHeaders('GET', '/')), ':authority': 'other.example.com' };
      expect((await http2Exchange(pair.session, headers)).status).toBe(421);
      expect(codes()).toEqual(['wrong_host']);
    });

    it('refuses an :authority with user information in it', async () => {
      const headers = { ...(await signedHeaders('GET', '/')), ':authority': `user@${authority}` };
      // Newer Nodes do not let it through to us.
      const answer = await http2Exchange(pair.session, headers).catch((error: Error) => error);
      if (answer instanceof Error) {
        expect(answer.message).toContain('NGHTTP2_PROTOCOL_ERROR');
      } else {
        expect(answer.status).toBe(400);
        expect(codes()).toEqual(['malformed_header']);
      }
      expect(handled).toBe(0);
    });

    it.each(['127.0.0.1/x', '127.0.0.1 x', ''])('never sees an :authority "%s"', async (other) => {
      const headers = { ...(await signedHeaders('GET', '/')), ':authority': other };
      await expect(http2Exchange(pair.session, headers)).rejects.toThrow('NGHTTP2_PROTOCOL_ERROR');
      expect(handled).toBe(0);
      await expectServing();
    });

    it('replay: refuses the same headers again', async () => {
      const headers = await signedHeaders('GET', '/');
      expect((await http2Exchange(pair.session, headers)).status).toBe(200);
      expect((await http2Exchange(pair.session, headers)).status).toBe(401);
      expect(codes()).toEqual(['replay_detected']);
    });

    it('trailers after a body are refused', async () => {
      const body = randomBytes(1000);
      const stream = pair.session.request(await signedHeaders('POST', '/', body), {
        waitForTrailers: true,
      } as object);
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-user': 'admin' }));
      stream.end(body);
      const response = await http2Response(stream);
      expect(response.status).toBe(400);
      expect(codes()).toEqual(['malformed_header']);
      expect(handled).toBe(0);
      await expectServing();
    });

    describe.each(['unsigned', 'too large, announced', 'too large, not announced'])(
      'refused early, %s',
      (kind) => {
        const body = randomBytes(MAX + 1);

        async function refused() {
          const line = { ':method': 'POST', ':path': '/', ':authority': authority };
          const headers = kind === 'unsigned' ? line : await signedHeaders('POST', '/', body);
          const length = kind === 'too large, announced' ? { 'content-length': body.length } : {};
          return pair.session.request({ ...headers, ...length });
        }
        const status = kind === 'unsigned' ? 401 : 413;

        it('the client sees the response, and its stream ends well', async () => {
          const stream = await refused();
          const closed = once(stream, 'close');
          stream.end(body);
          expect((await http2Response(stream)).status).toBe(status);
          await closed;
          expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
          await expect.poll(() => streams.every((served) => served.destroyed)).toBe(true);
          await expectServing();
        });

        it('the stream of a client that does not finish is closed after about a second', async () => {
          const stream = await refused();
          const aborted = once(stream, 'aborted');
          stream.write(body);
          expect((await http2Response(stream)).status).toBe(status);
          await aborted;
          await expect.poll(() => streams.every((served) => served.destroyed)).toBe(true);
          expect(handled).toBe(0);
          await expectServing();
        });

        it('a client that never stops is cut off after some megabytes', async () => {
          const stream = await refused();
          stream.on('error', () => {});
          let sent = 0;
          const push = () => {
            while (!stream.closed && sent < 500_000_000) {
              sent += 65_536;
              if (!stream.write(Buffer.alloc(65_536))) return;
            }
          };
          stream.on('drain', push);
          stream.on('error', () => {});
          push();
          // Newer Nodes end the whole session of a client that floods a stream that has its answer.
          const answer = await http2Response(stream).catch(() => null);
          if (answer !== null) expect(answer.status).toBe(status);
          await expect.poll(() => streams.every((served) => served.destroyed), { timeout: 5000 }).toBe(true);
          expect(sent).toBeLessThan(100_000_000);
          expect(handled).toBe(0);
          await expectServing();
        });
      },
    );

    it.each(['/', '/slow'])('%s: client abort in mid-body', async (target) => {
      const body = randomBytes(100_000);
      const to = { port: pair.port, host: '127.0.0.1' };
      const socket =
        name === 'TLS' ? connectTls({ ...to, ca: tls.cert, ALPNProtocols: ['h2'] }) : connectTcp(to);
      const other = connect(`http://${authority}`, { createConnection: () => socket });
      other.on('error', () => {});
      const stream = other.request(await signedHeaders('POST', target, body));
      stream.on('error', () => {});
      stream.write(body.subarray(0, 50_000));
      await expect.poll(() => streams.length).toBe(1);
      await sleep(50);
      socket.destroy();
      await expect.poll(codes).toEqual(['body_incomplete']);
      expect(handled).toBe(0);
      await expectServing();
    });

    it('body-truncated: a stream that ends early does not count as the whole body', async () => {
      const body = randomBytes(100_000);
      const headers = await signedHeaders('POST', '/', body);
      const response = await http2Exchange(pair.session, headers, body.subarray(0, 50_000));
      expect(response.status).toBe(401);
      expect(codes()).toEqual(['content_digest_mismatch']);
    });
  });
});

describe('HTTP/1.1 on a server of node:http2', () => {
  it('is verified like any other request', async () => {
    const machines = await createMachines();
    const verify = machines.target.verify();
    const server = createSecureServer({ ...tls, allowHTTP1: true }, (request, response) =>
      verify(request, response, async () => {
        response.end(`${request.httpVersion} ${Buffer.concat(await request.toArray())}`);
      }),
    );
    const { port, close } = await connectHttp2(server, tls.cert);
    const raw = await signedRaw(machines.signer, `127.0.0.1:${port}`, { method: 'POST', body: 'grüße' });
    const socket = connectTls({ port, host: '127.0.0.1', ca: tls.cert, ALPNProtocols: ['http/1.1'] });
    await once(socket, 'secureConnect');
    socket.write(head(raw.line, [...raw.headers, `Content-Length: ${raw.body.length}`, 'Connection: close']));
    socket.write(raw.body);
    const response = Buffer.concat(await socket.toArray()).toString();
    expect(response).toContain('1.1 grüße');
    await close();
    await machines.remove();
  });
});
