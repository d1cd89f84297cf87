import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AuthMeshIdentity,
  CODES,
  createClient,
  type RefusalCode,
  type Signer,
} from '@authmesh/sdk/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { tenth } from '../support/full';
import { exchange, head, RawClient, type RawResponse } from '../support/raw-http';
import { requireRuntime } from '../support/runtime-server';
import type { Runtime } from '../support/runtimes';
import { sendVector } from '../support/send-vector';
import { signedRaw } from '../support/signed-raw';
import { workerOf } from '../support/statements';
import { claimsOf, expectedCode, nowOf, type Vector, vectors } from '../support/vectors';
import { PROBES, rowOf, wordOf } from './sights';
import { CONTROL, type Outcome, type Seen, type Setting } from './subject';

/** A server of one framework on one runtime, which has the application of apps/ and listens on loopback. */
export interface ContractServer {
  readonly port: number;
  close(): Promise<void>;
}

export interface ServerKind {
  readonly name: string;
  readonly runtime: Runtime['name'];
  /** @throws where the runtime is not installed */
  start(): Promise<ContractServer>;
  /** Of the table in docs/protocol.md, "What each runtime shows". */
  readonly column: string;
  /** Whether the runtime takes dot segments out of a target before anybody sees it. */
  readonly removesDotSegments?: boolean;
  /** Whether another kind has the same framework or the same runtime, and takes the whole contract in each run. */
  readonly isLikeAnother?: boolean;
  /**
   * Whether the runtime may close a connection behind an answer, whatever still comes: the client then sees an error of the
   * connection. workerd does so about once in twenty times.
   */
  readonly mayCutOff?: boolean;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const { deviceId } = vectors.devices.controller;
const caller = { deviceId, friendlyName: 'controller' };

/** The contract of one kind; skipped, with a word, where its runtime is not installed, and in CI a failure. */
export async function describeContract(kind: ServerKind): Promise<void> {
  const runtime = await requireRuntime(kind.runtime);
  describe.skipIf(runtime === null)(`${kind.name} (${runtime?.version})`, () => contractOf(kind));
}

/** What every server does alike, whatever its framework and runtime. Run against a real socket, byte for byte. */
function contractOf(kind: ServerKind): void {
  let server: ContractServer;
  let signer: Signer;
  let authority: string;
  let origin: string;

  beforeAll(async () => {
    signer = await signerOf('controller');
    server = await kind.start();
    authority = `127.0.0.1:${server.port}`;
    origin = `http://${authority}`;
  });
  afterAll(() => server?.close());

  async function set(setting: Setting): Promise<void> {
    const response = await fetch(origin + CONTROL, { method: 'POST', body: JSON.stringify(setting) });
    expect(response.status).toBe(200);
  }
  const outcome = async () => (await (await fetch(origin + CONTROL)).json()) as Outcome;

  async function send(
    request: Parameters<typeof signedRaw>[2] = {},
    framing?: 'chunked',
  ): Promise<RawResponse> {
    const { line, headers, body } = await signedRaw(signer, authority, request);
    if (framing === 'chunked') {
      const lines = [...headers, 'Transfer-Encoding: chunked'];
      return exchange(server.port, head(line, lines), ...chunksOf(body));
    }
    const length = body.length === 0 ? [] : [`Content-Length: ${body.length}`];
    return exchange(server.port, head(line, [...headers, ...length]), body);
  }

  function expectRefusal(response: RawResponse, code: RefusalCode): void {
    const { status, wire } = CODES[code];
    expect(response.status).toBe(status);
    expect(response.body).toBe(JSON.stringify({ error: wire }));
    expect(response.headers['content-type']).toBe('application/json');
    expect(response.headers['cache-control']).toBe('no-store');
    const challenge = status === 401 ? `AuthMesh error="${wire}"` : undefined;
    expect(response.headers['www-authenticate']).toBe(challenge);
  }

  describe('wire vectors', () => {
    it.each(kind.isLikeAnother ? tenth(vectors.cases) : vectors.cases)('$name', async (vector) => {
      await set({ now: nowOf(vector), delegates: vector.delegates });
      const response = await sendVector(server.port, vector);
      const { method, body } = vector.request;
      // What `why` of the vector says of such runtimes.
      const isNormalised = kind.removesDotSegments && vector.name.endsWith('dot segment added');
      const target = isNormalised ? '/api/orders' : vector.request.target;
      const code = isNormalised ? undefined : (expectedCode(vector) as RefusalCode | undefined);
      expect(await outcome()).toEqual({
        refusals: code === undefined ? [] : [code],
        handled: code === undefined ? 1 : 0,
      });
      if (code !== undefined) {
        expectRefusal(response, code);
        if (code === 'timestamp_out_of_range')
          expect(Date.parse(response.headers.date as string)).toBe(nowOf(vector));
        return;
      }
      const bytes = Buffer.from(body, 'base64');
      expect(response.status).toBe(200);
      expect(JSON.parse(response.body)).toEqual({
        caller: { ...caller, verifiedAt: vector.now, scopes: [], ...delegateOf(vector) },
        via: 'app',
        method,
        target,
        sha256: sha256(bytes),
        length: bytes.length,
      } satisfies Seen);
    });
  });

  describe('a running clock', () => {
    beforeEach(() => set({ hosts: [authority], maxBodyBytes: 200_000 }));

    const seen = ({ body }: RawResponse) => JSON.parse(body) as Seen;
    const text = 'grüße ☃ 😀\r\n\ufffd';
    const binary = new Uint8Array(randomBytes(100_000));
    binary.set([0xef, 0xbb, 0xbf, 0xff, 0xfe, 0x00, 0x80]); // a byte order mark first, then what is no UTF-8

    it('lets through, with headers for caches', async () => {
      const response = await send({ target: '/a?b=1' });
      expect(response.status).toBe(200);
      expect(response.headers['cache-control']).toBe('private');
      const vary = response.headers.vary?.split(/, ?/).map((name) => name.toLowerCase());
      expect(vary).toEqual(expect.arrayContaining(['authorization', 'signature-input']));
      expect(seen(response)).toMatchObject({
        caller,
        via: 'app',
        method: 'GET',
        target: '/a?b=1',
        length: 0,
      });
    });

    it('leaves the last word on caches to the handler', async () => {
      const response = await send({ target: '/own/' });
      expect(response.headers['cache-control']).toBe('public');
    });

    describe('bodies', () => {
      const read = async (parser: string, type: string, body: Uint8Array | string, framing?: 'chunked') => {
        const headers = { 'content-type': type };
        const response = await send({ method: 'POST', target: `/read/${parser}`, headers, body }, framing);
        expect(await outcome()).toMatchObject({ refusals: [] });
        expect(response.status).toBe(200);
        return JSON.parse(response.body);
      };
      const framings = [undefined, 'chunked'] as const;

      it.each(framings)('JSON (%s)', async (framing) => {
        const value = { text, numbers: [1, 2.5e-7, -0] };
        expect(await read('json', 'application/json', JSON.stringify(value), framing)).toEqual({
          text,
          numbers: [1, 2.5e-7, 0],
        });
      });

      it.each(framings)('text (%s)', async (framing) => {
        expect(await read('text', 'text/plain;charset=UTF-8', text, framing)).toBe(text);
      });

      it.each(framings)('raw bytes (%s)', async (framing) => {
        expect(await read('raw', 'application/octet-stream', binary, framing)).toBe(sha256(binary));
      });

      it.each(framings)('a form (%s)', async (framing) => {
        const form = 'a=1&b=+x&c=%C3%A4%E2%98%83';
        const fields = await read('form', 'application/x-www-form-urlencoded', form, framing);
        expect(fields).toEqual({ a: '1', b: ' x', c: 'ä☃' });
      });

      it.each(framings)('a multipart form with a file (%s)', async (framing) => {
        const form = new FormData();
        form.set('note', 'grüße ☃');
        form.set('file', new Blob([binary], { type: 'image/png' }), 'file.png');
        const encoded = new Response(form);
        const type = encoded.headers.get('content-type') as string;
        const bytes = new Uint8Array(await encoded.arrayBuffer());
        const values = await read('multipart', type, bytes, framing);
        expect(values).toEqual({ note: 'grüße ☃', file: `image/png ${sha256(binary)}` });
      });

      it.each(framings)('nothing (%s)', async (framing) => {
        expect(await read('raw', 'application/octet-stream', '', framing)).toBe(sha256(Buffer.of()));
      });

      it.each(['POST', 'PUT', 'PATCH', 'DELETE'])('whatever the method: %s', async (method) => {
        const response = await send({ method, target: '/x', body: binary });
        expect(seen(response)).toMatchObject({ method, sha256: sha256(binary), length: binary.length });
      });

      it('that were changed on the way', async () => {
        const { line, headers, body } = await signedRaw(signer, authority, { method: 'POST', body: 'abc' });
        const changed = Buffer.from(body);
        changed[0] = 0x41;
        expectRefusal(
          await exchange(server.port, head(line, [...headers, 'Content-Length: 3']), changed),
          'content_digest_mismatch',
        );
        const unread = await signedRaw(signer, authority, { method: 'POST' });
        expectRefusal(
          await exchange(server.port, head(unread.line, [...unread.headers, 'Content-Length: 3']), 'abc'),
          'content_digest_missing',
        );
        expect((await outcome()).handled).toBe(0);
      });

      it('at most maxBodyBytes of them', async () => {
        const most = new Uint8Array(200_000);
        expect(seen(await send({ method: 'POST', body: most })).length).toBe(most.length);
        expect(seen(await send({ method: 'POST', body: most }, 'chunked')).length).toBe(most.length);
        const more = new Uint8Array(200_001);
        expectRefusal(await send({ method: 'POST', body: more }), 'payload_too_large');
        expectRefusal(await send({ method: 'POST', body: more }, 'chunked'), 'payload_too_large');
        expect(await outcome()).toEqual({
          refusals: ['payload_too_large', 'payload_too_large'],
          handled: 2,
        });
      });
    });

    it.each(PROBES)('sees as docs/protocol.md says: $name', async (probe) => {
      const response = await probe.send(signer, authority, server.port);
      expect(rowOf(probe)[kind.column]?.split(' or ')).toContain(wordOf(probe, response));
    });

    describe('refuses before it has read the body', () => {
      /** Sends a head that announces a body, and waits for the answer with the body unsent. */
      async function announce(line: string, headers: readonly string[], bytes: number): Promise<RawResponse> {
        const client = await RawClient.connect(server.port);
        try {
          client.write(head(line, [...headers, `Content-Length: ${bytes}`]));
          const late = sleep(5000).then(() => Promise.reject(new Error('It waits for the body.')));
          return await Promise.race([client.response(), late]);
        } finally {
          client.destroy();
        }
      }

      it('what is not signed', async () => {
        const response = await announce('POST / HTTP/1.1', [`Host: ${authority}`], 1000);
        expectRefusal(response, 'missing_header');
      });

      it('what is signed wrongly', async () => {
        const { headers } = await signedRaw(signer, authority, { method: 'POST', body: 'abc' });
        expectRefusal(await announce('POST /other HTTP/1.1', headers, 100_000_000), 'invalid_signature');
      });

      it('what was sent before', async () => {
        const { line, headers, body } = await signedRaw(signer, authority, { method: 'POST', body: 'abc' });
        const first = await exchange(server.port, head(line, [...headers, 'Content-Length: 3']), body);
        expect(first.status).toBe(200);
        expectRefusal(await announce(line, headers, 1000), 'replay_detected');
      });

      it('and serves the next one on another connection', async () => {
        await announce('POST / HTTP/1.1', [`Host: ${authority}`], 1000);
        expect((await send()).status).toBe(200);
      });

      it('and the client that writes on sees the answer', async () => {
        let seen = 0;
        for (let i = 0; i < 3 || (seen === 0 && i < 20); i++) {
          const sent = fetch(origin, { method: 'POST', body: new Uint8Array(2_000_000) });
          const response = await sent.catch((error) => {
            if (!kind.mayCutOff) throw error;
            expect(error.cause?.code).toMatch(/^(?:EPIPE|ECONNRESET|UND_ERR_SOCKET)$/);
          });
          if (response === undefined) continue;
          seen++;
          expect(response.status).toBe(401);
          expect(await response.json()).toEqual({ error: 'unauthorized' });
        }
        expect(seen).toBeGreaterThan(0);
      });
    });

    describe('routes', () => {
      it('a mounted application sees the target that was signed', async () => {
        const response = await send({ method: 'POST', target: '/mounted/deep/x?y=%2F', body: 'abc' });
        expect(seen(response)).toMatchObject({
          caller,
          via: 'mounted',
          target: '/mounted/deep/x?y=%2F',
          length: 3,
        });
      });

      it.each(['#?admin=1', '?x=1#&admin=1', '#/../admin'])(
        'a fragment adds no query or path that is not signed: %s',
        async (fragment) => {
          const target = fragment.startsWith('?') ? '/a?x=1' : '/a';
          const { headers } = await signedRaw(signer, authority, { target });
          const line = `GET ${target}${fragment.slice(fragment.indexOf('#'))} HTTP/1.1`;
          const response = await exchange(server.port, head(line, headers));
          // workerd takes it away before anybody sees it.
          if (response.status === 200) expect(seen(response).target).toBe(target);
          else expect(response.status).toBe(400);
        },
      );

      it('a request verified three times is one request', async () => {
        const response = await send({ method: 'POST', target: '/twice/x', body: 'abc' });
        expect(seen(response)).toMatchObject({ via: 'twice', length: 3, sha256: sha256(Buffer.from('abc')) });
        expect(seen(await send({ target: '/twice/x' }))).toMatchObject({ via: 'twice', length: 0 });
      });

      it('HEAD is signed as HEAD, and answered without a body', async () => {
        const response = await send({ method: 'HEAD', target: '/x' });
        expect(response).toMatchObject({ status: 200, body: '' });
        expect(response.headers['cache-control']).toBe('private');
        const { headers } = await signedRaw(signer, authority, { target: '/x' });
        const refused = await exchange(server.port, head('HEAD /x HTTP/1.1', headers));
        expect(refused).toMatchObject({ status: 401, body: '' });
        expect((await outcome()).refusals).toEqual(['invalid_signature']);
      });

      it('OPTIONS needs a signature like any other', async () => {
        expect(seen(await send({ method: 'OPTIONS', target: '/x' })).method).toBe('OPTIONS');
        const preflight = ['Origin: https://example.com', 'Access-Control-Request-Method: POST'];
        const line = head('OPTIONS /x HTTP/1.1', [`Host: ${authority}`, ...preflight]);
        expectRefusal(await exchange(server.port, line), 'missing_header');
      });
    });

    describe('scopes', () => {
      const allow = (scopes: readonly string[]) => set({ hosts: [authority], scopes });
      const lacks = (response: RawResponse) => {
        expect(response.headers['content-type']).toBe('application/json');
        expect(response.headers['cache-control']).toBe('no-store');
        return [response.status, JSON.parse(response.body)];
      };
      const missing = (scope: string) => [403, { error: 'scope_missing', scope }];

      it.each(['only', 'scoped/one'])('a route requires one: /%s', async (path) => {
        const request = { method: 'POST', target: `/${path}/x`, body: 'abc' };
        for (const scopes of [[], ['orders:write', 'orders', 'reports:*']]) {
          await allow(scopes);
          expect(lacks(await send(request))).toEqual(missing('orders:read'));
          expect(await outcome()).toEqual({ refusals: ['scope_missing'], handled: 0 });
        }
        for (const scopes of [['orders:read'], ['orders:*'], ['*']]) {
          await allow(scopes);
          const answer = await send(request);
          expect(answer.status).toBe(200);
          expect(seen(answer)).toMatchObject({ caller: { ...caller, scopes }, length: 3 });
          expect(await outcome()).toEqual({ refusals: [], handled: 1 });
        }
      });

      it('a list requires all, and the refusal names the first that is missing', async () => {
        await allow(['orders:read']);
        expect(lacks(await send({ target: '/scoped/all/x' }))).toEqual(missing('orders:write'));
        expect(seen(await send({ target: '/scoped/one/x' }))).toMatchObject({ via: 'one' });
        expect(seen(await send({ target: '/other' }))).toMatchObject({ via: 'app' });
        await allow(['orders:write', 'orders:read']);
        expect(seen(await send({ target: '/scoped/all/x' }))).toMatchObject({ via: 'all' });
      });

      it('a handler asks for one', async () => {
        await allow(['orders:*']);
        expect((await send({ target: '/scoped/asked/x' })).body).toBe('true');
        await allow(['orders']);
        expect((await send({ target: '/scoped/asked/x' })).body).toBe('false');
      });

      it('a refused request is a replay, also once the scope is allowed, and the next one is not', async () => {
        await allow([]);
        const { line, headers } = await signedRaw(signer, authority, { target: '/only/x' });
        const bytes = head(line, headers);
        expect((await exchange(server.port, bytes)).status).toBe(403);
        expectRefusal(await exchange(server.port, bytes), 'replay_detected');
        expect((await send({ target: '/only/x' })).status).toBe(403);
        await set({ hosts: [authority], scopes: ['orders:read'], keepsNonces: true });
        expectRefusal(await exchange(server.port, bytes), 'replay_detected');
        expect(seen(await send({ target: '/only/x' }))).toMatchObject({ via: 'only' });
        expect(await outcome()).toEqual({ refusals: ['replay_detected'], handled: 1 });
      });
    });

    describe('working keys', () => {
      const NOW = Math.floor(Date.now() / 1000);
      const life = { issuedAt: NOW - 300, expiresAt: NOW + 3300 };
      const allow = (scopes: readonly string[]) => set({ hosts: [authority], scopes });
      const lend = async (scopes: readonly string[], by = life) => {
        const targets = [vectors.verifierDeviceId];
        const { signer, claims } = await workerOf({ ...by, delegation: { name: 'agent', scopes, targets } });
        return { signer, id: claims.id };
      };
      const call = async (signer: Signer, target: string, body = '') => {
        const raw = await signedRaw(signer, authority, { method: (body && 'POST') || 'GET', target, body });
        const length = body === '' ? [] : [`Content-Length: ${body.length}`];
        return exchange(server.port, head(raw.line, [...raw.headers, ...length]), raw.body);
      };

      it('call as their device', async () => {
        await allow(['orders:read']);
        const { signer } = await workerOf(life);
        for (const target of ['/a', '/only/x', '/lent/x', '/kept/x', '/twice/x', '/a']) {
          const answer = await call(signer, target, 'abc');
          expect(seen(answer)).toMatchObject({ caller: { ...caller, scopes: ['orders:read'] }, length: 3 });
          expect(seen(answer).caller).not.toHaveProperty('delegate');
        }
      });

      it('two AuthMesh-Key lines, the right one and another', async () => {
        const { signer, requestSigner } = await workerOf(life);
        const other = await workerOf(life);
        const { line, headers } = await signedRaw(signer, authority);
        // Deno hands over no empty line.
        const empty = kind.runtime === 'deno' ? [] : [''];
        for (const second of [other.requestSigner.statement, requestSigner.statement, 'x', ...empty]) {
          for (const lines of [
            [...headers, `AuthMesh-Key: ${second}`],
            [headers[0] as string, `AuthMesh-Key: ${second}`, ...headers.slice(1)],
          ]) {
            const { status } = await exchange(server.port, head(line, lines));
            expect([400, 401]).toContain(status); // some runtimes join them first
          }
        }
        expect((await outcome()).handled).toBe(0);
        expect((await exchange(server.port, head(line, headers))).status).toBe(200);
      });

      it.each([
        ['with white space around it', (text: string) => ` \t${text} \t`, 200],
        ['continued on a second line', (text: string) => `${text.slice(0, 99)}\r\n ${text.slice(99)}`, 400],
        ['with a space in it', (text: string) => `${text.slice(0, 99)} ${text.slice(99)}`, 401],
        ['in upper case', (text: string) => text.toUpperCase(), 401],
        ['in quotation marks', (text: string) => `"${text}"`, 401],
      ])('a statement %s', async (_how, write, expected) => {
        const { signer, requestSigner } = await workerOf(life);
        const { line, headers } = await signedRaw(signer, authority);
        const lines = headers.map((each) =>
          each.startsWith('authmesh-key') ? `AuthMesh-Key:${write(requestSigner.statement)}` : each,
        );
        const { status } = await exchange(server.port, head(line, lines));
        if (expected !== 400) expect(status).toBe(expected);
        else expect([400, 401]).toContain(status);
      });

      it('delegates have what they were lent and their device has', async () => {
        await allow(['orders:*']);
        const { signer, id } = await lend(['orders:read', 'reports:*']);
        const delegate = { name: 'agent', scopes: ['orders:read', 'reports:*'], expiresAt: NOW + 3300, id };
        for (const target of ['/only/x', '/lent/x'])
          expect(seen(await call(signer, target, 'abc')).caller).toMatchObject({
            ...caller,
            scopes: ['orders:read'],
            delegate,
          });
        expectRefusal(await call(signer, '/a'), 'delegate_not_allowed');
        expectRefusal(await call(signer, '/kept/x'), 'delegate_not_allowed');
        expectRefusal(await call(signer, '/scoped/one/x'), 'delegate_not_allowed'); // by the verify() around it
        await allow(['reports:read']);
        const lacks = await call(signer, '/only/x');
        expect([lacks.status, JSON.parse(lacks.body)]).toEqual([
          403,
          { error: 'scope_missing', scope: 'orders:read' },
        ]);
        expect(seen(await call(signer, '/lent/x')).caller.scopes).toEqual(['reports:read']);
        const { signer: small } = await lend(['reports:write']);
        await allow(['*']);
        expect((await call(small, '/only/x')).status).toBe(403);
      });

      it('a handler asks for the scopes of a delegate', async () => {
        await set({ hosts: [authority], scopes: ['orders:*'], delegates: true });
        const asked = async (scopes: readonly string[]) =>
          (await call((await lend(scopes)).signer, '/scoped/asked/x')).body;
        expect([await asked(['orders:read']), await asked(['*']), await asked(['reports:*'])]).toEqual([
          'true',
          'true',
          'false',
        ]);
        expect((await call((await lend(['orders:read'])).signer, '/twice/x', 'abc')).status).toBe(200);
      });

      it('delegates cannot enrol, nor call any path of amesh', async () => {
        await allow(['*']);
        for (const { signer } of [await lend(['*']), await workerOf(life)]) {
          for (const path of ['enroll', 'other'])
            expectRefusal(await call(signer, `/.well-known/amesh/${path}`, 'abc'), 'key_statement_invalid');
        }
      });
    });

    it.each(['GET', 'POST'])('of 100 copies of one %s at once exactly one passes', async (method) => {
      const body = method === 'POST' ? 'abc' : '';
      const { line, headers } = await signedRaw(signer, authority, { method, body });
      const bytes = head(line, [...headers, `Content-Length: ${body.length}`]);
      const copies = Array.from({ length: 100 }, () => exchange(server.port, bytes, body));
      const statuses = (await Promise.all(copies)).map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).toHaveLength(1);
      expect(statuses.filter((status) => status === 401)).toHaveLength(99);
      const { refusals, handled } = await outcome();
      expect([...new Set(refusals)]).toEqual(['replay_detected']);
      expect(handled).toBe(1);
    });

    it.each(['authmesh', 'rfc9421'] as const)('takes what the client sends as %s', async (format) => {
      const client = createClient({ signer, format });
      for (const init of [{}, { method: 'POST', body: binary }, { method: 'PUT', body: text }]) {
        const response = await client.fetch(`${origin}/a%2Fb//c?x=1&&y`, init);
        expect(response.status).toBe(200);
        expect(await response.json()).toMatchObject({ caller, target: '/a%2Fb//c?x=1&&y' });
      }
    });
  });
}

/** What a handler sees of the delegate that sent a vector. */
function delegateOf(vector: Vector): Pick<AuthMeshIdentity, 'delegate'> {
  const { sub: name, scope = '', exp: expiresAt = 0, jti: id = '' } = claimsOf(vector) ?? {};
  return name === undefined ? {} : { delegate: { name, scopes: scope.split(' '), expiresAt, id } };
}

/** A body in two chunks of HTTP/1.1, and their end. */
function chunksOf(body: Uint8Array): (string | Uint8Array)[] {
  const middle = Math.ceil(body.length / 2);
  const parts = [body.subarray(0, middle), body.subarray(middle)].filter(({ length }) => length > 0);
  return [...parts.flatMap((part) => [`${part.length.toString(16)}\r\n`, part, '\r\n']), '0\r\n\r\n'];
}
