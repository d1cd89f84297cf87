import { createHash, randomBytes } from 'node:crypto';
import type { Signer } from '@authmesh/sdk/core';
import { signRequest } from '@authmesh/sdk/core';
import { asSent } from '@authmesh/sdk/lambda';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import {
  hostOf,
  invoke,
  type LambdaHandler,
  type LambdaRequest,
  type LambdaSource,
  lambdaAdapters,
  lambdaSources,
} from '../support/lambda';
import { LENT, workerOf } from '../support/statements';
import { vectors } from '../support/vectors';
import { type Outcome, Subject } from './subject';

let host: string;
const hosts = lambdaSources.map(hostOf);
const { deviceId } = vectors.devices.controller;
const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
const binary = new Uint8Array(randomBytes(1000));
binary.set([0xef, 0xbb, 0xbf, 0xff, 0xfe, 0x00, 0x80]);

describe.each(lambdaAdapters)('$name', (adapter) => {
  let signer: Signer;
  let subject: Subject;
  let handler: LambdaHandler;

  beforeAll(async () => {
    signer = await signerOf('controller');
    subject = new Subject();
    handler = await adapter.create(subject);
  });
  beforeEach(() => {
    host = hostOf('function URL 2.0');
    subject.control('POST', JSON.stringify({ hosts, maxBodyBytes: 100_000 }));
  });
  const outcome = () => JSON.parse(subject.control('GET', '')) as Outcome;

  async function signed(
    request: {
      method?: string;
      target?: string;
      headers?: Record<string, string>;
      body?: Uint8Array | string;
    } = {},
  ): Promise<LambdaRequest> {
    const { method = 'GET', target = '/', headers = {}, body = '' } = request;
    const bytes = Buffer.from(body as string);
    const view = { method, target, authority: host, headers, body: bytes };
    const { headers: all } = await signRequest(view, signer);
    const length: [string, string][] = bytes.length === 0 ? [] : [['Content-Length', String(bytes.length)]];
    return {
      method,
      target,
      headers: [['Host', host], ...(Object.entries(all) as [string, string][]), ...length],
      body: bytes,
    };
  }

  describe.each(lambdaSources)('%s', (source: LambdaSource) => {
    beforeEach(() => {
      host = hostOf(source);
    });
    it.each([
      ['GET', '', {}],
      ['POST', '{"text":"grüße ☃"}', { 'content-type': 'application/json' }],
      ['POST', binary, { 'content-type': 'application/octet-stream' }],
      ['DELETE', '', {}],
    ] as const)('accepts %s with its bytes', async (method, body, headers) => {
      const answer = await invoke(
        handler,
        await signed({ method, target: '/a/b?x=1', headers, body }),
        source,
      );
      expect(outcome()).toEqual({ refusals: [], handled: 1 });
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.body)).toMatchObject({
        caller: { deviceId },
        method,
        target: '/a/b?x=1',
        sha256: sha256(body),
      });
    });

    it('accepts a working key, and refuses a delegate', async () => {
      const nowSeconds = Math.floor(Date.now() / 1000);
      const life = { issuedAt: nowSeconds - 300, expiresAt: nowSeconds + 3600 };
      const answers = [];
      for (const delegation of [undefined, LENT]) {
        const { signer } = await workerOf({ ...life, delegation });
        const { headers } = await signRequest(
          { method: 'GET', target: '/a', authority: host, headers: {} },
          signer,
        );
        const lines = Object.entries(headers) as [string, string][];
        const request = { method: 'GET', target: '/a', headers: [['Host', host], ...lines] as typeof lines };
        answers.push(await invoke(handler, { ...request, body: Buffer.of() }, source));
      }
      expect(answers.map(({ status }) => status)).toEqual([200, 403]);
      expect(outcome()).toEqual({ refusals: ['delegate_not_allowed'], handled: 1 });
    });

    it.each(['only', 'scoped/one'])(
      'requires a scope on a route, and what was refused is a replay once it is allowed: /%s',
      async (path) => {
        const allow = (scopes: readonly string[], more = {}) =>
          subject.control('POST', JSON.stringify({ hosts, scopes, ...more }));
        allow([]);
        const send = { method: 'POST', target: `/${path}/x`, body: 'abc' };
        const refused = await signed(send);
        const answer = await invoke(handler, refused, source);
        expect([answer.status, JSON.parse(answer.body)]).toEqual([
          403,
          { error: 'scope_missing', scope: 'orders:read' },
        ]);
        allow(['orders:read'], { keepsNonces: true });
        expect((await invoke(handler, refused, source)).status).toBe(401);
        expect(outcome()).toEqual({ refusals: ['replay_detected'], handled: 0 });
        const passed = await invoke(handler, await signed(send), source);
        expect(JSON.parse(passed.body)).toMatchObject({
          caller: { scopes: ['orders:read'] },
          sha256: sha256('abc'),
        });
        const other = await invoke(handler, await signed({ ...send, target: '/scoped/all/x' }), source);
        expect(JSON.parse(other.body)).toEqual({ error: 'scope_missing', scope: 'orders:write' });
      },
    );

    it('sees %40, %2F, %7B and %20 in the path as they were sent', async () => {
      const path = '/files/a%40b%2Fc%7Bd%7D%20e';
      const target = `${path}?x=1&x=2&y=3`;
      const request = await signed({ target, headers: { 'authmesh-path': path } });
      const answer = await invoke((event) => handler(asSent(event)), request, source);
      expect(outcome()).toEqual({ refusals: [], handled: 1 });
      expect(JSON.parse(answer.body)).toMatchObject({ target });
    });

    it('sees a path that fetch has encoded by itself', async () => {
      const target = new URL('http://x/{a b}/ü"<>`@:+,;=|[]^~').pathname;
      await invoke((event) => handler(asSent(event)), await signed({ target }), source);
      expect(outcome()).toEqual({ refusals: [], handled: 1 });
    });

    it.each(['/files', '/files/%2e%2e/admin', '/admin?', '/files/a%2Fb#'])(
      'runs nothing that AuthMesh-Path names in addition to the true path: %s',
      async (path) => {
        const request = await signed({
          target: path.replace(/[?#]/, ''),
          headers: { 'authmesh-path': path },
        });
        await invoke((event) => handler(asSent(event)), { ...request, target: '/admin/x' }, source);
        expect(outcome()).toMatchObject({ handled: 0 });
      },
    );

    it('does not verify anything that only decodes to what was signed', async () => {
      const request = await signed({ target: '/files/a%2Fb' });
      for (const target of ['/files/a/b', '/files/a%252Fb', '/files/%61%2Fb']) {
        await invoke((event) => handler(asSent(event)), { ...request, target }, source);
      }
      expect(outcome()).toMatchObject({ handled: 0 });
    });

    it('refuses a body other than the one that was signed', async () => {
      const request = await signed({ method: 'POST', body: 'abc' });
      const answer = await invoke(handler, { ...request, body: 'Abc' }, source);
      expect(outcome()).toEqual({ refusals: ['content_digest_mismatch'], handled: 0 });
      expect(answer.status).toBe(401);
      expect(answer.body).toBe('{"error":"unauthorized"}');
    });

    it('refuses what is not signed', async () => {
      const answer = await invoke(handler, { method: 'GET', target: '/', headers: [['Host', host]] }, source);
      expect(outcome()).toEqual({ refusals: ['missing_header'], handled: 0 });
      expect(answer.status).toBe(401);
    });
  });

  it.each(['HTTP API 2.0', 'function URL 2.0'] as const)(
    '%s: sees the query as it was sent',
    async (source) => {
      const target = '/q?b=%20y&a=1,2&a=3&c&d=%C3%BC&a=+4&e=%40:/?';
      await invoke((event) => handler(asSent(event)), await signed({ target }), source);
      expect(outcome()).toEqual({ refusals: [], handled: 1 });
    },
  );

  it('several lines of a header count as one line with commas', async () => {
    const request = await signed({ headers: { 'content-type': 'text/plain, text/html' } });
    const headers = request.headers.filter(([name]) => name !== 'content-type');
    const lines: [string, string][] = [
      ['content-type', 'text/plain'],
      ['content-type', 'text/html'],
    ];
    for (const source of lambdaSources) {
      await invoke(handler, { ...request, headers: [...headers, ...lines] }, source);
    }
    // One of them may have lost a line, and then nobody sees it; with both they are what was signed.
    for (const code of outcome().refusals)
      expect(['invalid_signature', 'replay_detected', 'malformed_header']).toContain(code);
    expect(outcome().handled).toBeLessThanOrEqual(1);
  });

  it('parsers after it find the bytes', async () => {
    const json = { method: 'POST', target: '/read/json', headers: { 'content-type': 'application/json' } };
    const read = await invoke(handler, await signed({ ...json, body: '{"text":"grüße"}' }));
    expect(JSON.parse(read.body)).toEqual({ text: 'grüße' });
    const raw = {
      method: 'POST',
      target: '/read/raw',
      headers: { 'content-type': 'application/octet-stream' },
    };
    const bytes = await invoke(handler, await signed({ ...raw, body: binary }));
    expect(JSON.parse(bytes.body)).toBe(sha256(binary));
  });

  it('verifies a request twice', async () => {
    for (const body of ['', 'abc']) {
      const request = await signed({ method: 'POST', target: '/twice/x', body });
      const answer = await invoke(handler, request);
      expect(JSON.parse(answer.body)).toMatchObject({ via: 'twice', sha256: sha256(body) });
      await invoke(handler, request);
    }
    expect(outcome()).toEqual({ refusals: ['replay_detected', 'replay_detected'], handled: 2 });
  });
});
