import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { authMesh } from '@authmesh/sdk/fastify';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fastifies, type Serving, serve } from '../support/fastify';
import { latest } from '../support/full';
import { createMachines, type Machines } from '../support/machines';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');

const MAX = 300_000;
const binary = randomBytes(100_000);
binary.set([0xef, 0xbb, 0xbf, 0xff, 0xfe, 0x00, 0x80]); // a byte order mark first, then what is no UTF-8

describe.each(latest(fastifies))('bodies through $name', ({ fastify, multipart }) => {
  let machines: Machines;
  let serving: Serving;
  let handled: number;

  beforeAll(async () => {
    machines = await createMachines();
    const app = fastify() as FastifyInstance;
    await app.register(authMesh, { amesh: machines.target, maxBodyBytes: MAX });
    await app.register(multipart as never, { limits: { fileSize: 1e7 } });
    app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
      done(null, body),
    );
    app.addContentTypeParser('application/x-stream', (_request, payload, done) => done(null, payload));
    app.addHook('preHandler', async () => void handled++);
    app.all('/parsed', async ({ body }) => ({
      body: Buffer.isBuffer(body) ? sha256(body) : (body ?? null),
    }));
    app.post('/stream', async ({ body }) => {
      const chunks: Buffer[] = [];
      for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
      return { sha256: sha256(Buffer.concat(chunks)) };
    });
    app.post('/form', async (request) => {
      const parts: Record<string, string> = {};
      for await (const part of (request as unknown as { parts(): AsyncIterable<Part> }).parts()) {
        parts[part.fieldname] = part.type === 'file' ? sha256(await part.toBuffer()) : part.value;
      }
      return parts;
    });
    app.post('/unread', { config: {} }, async () => ({}));
    app.post('/narrow', { bodyLimit: 5 }, async ({ body }) => ({ body }));
    app.post('/wide', { bodyLimit: 10 * MAX }, async () => ({}));
    serving = await serve(app);
  });
  afterAll(async () => {
    await serving.app.close();
    await machines.remove();
  });
  beforeEach(() => {
    machines.refusals.length = 0;
    handled = 0;
  });

  interface Part {
    readonly type: 'file' | 'field';
    readonly fieldname: string;
    readonly value: string;
    toBuffer(): Promise<Buffer>;
  }

  const codes = () => machines.refusals.map(({ code }) => code);
  const post = (path: string, body: RequestInit['body'], type?: string) =>
    machines.controller.fetch(serving.origin + path, {
      method: 'POST',
      body: body as BodyInit,
      ...(type === undefined ? {} : { headers: { 'content-type': type } }),
    });
  const signed = (request: Parameters<typeof signedRaw>[2]) =>
    signedRaw(machines.signer, serving.authority, { method: 'POST', ...request });

  it("Fastify's own parsers of JSON and text, and parsers of bytes", async () => {
    const json = { text: 'grüße ☃ 😀', n: [1, 2.5e-7] };
    expect(await (await post('/parsed', JSON.stringify(json), 'application/json')).json()).toEqual({
      body: json,
    });
    expect(await (await post('/parsed', 'grüße ☃')).json()).toEqual({ body: 'grüße ☃' });
    const type = 'application/octet-stream';
    expect(await (await post('/parsed', binary, type)).json()).toEqual({ body: sha256(binary) });
    expect(await (await post('/stream', binary, 'application/x-stream')).json()).toEqual({
      sha256: sha256(binary),
    });
    expect(codes()).toEqual([]);
  });

  it('@fastify/multipart, which reads the raw request', async () => {
    const form = new FormData();
    form.set('note', 'grüße ☃');
    form.set('file', new Blob([binary], { type: 'application/octet-stream' }), 'blob.bin');
    expect(await (await post('/form', form)).json()).toEqual({ note: 'grüße ☃', file: sha256(binary) });
    expect(codes()).toEqual([]);
  });

  it.each(['GET', 'DELETE'])('a %s with a body', async (method) => {
    const body = Buffer.from('{"a":1}');
    const type = { 'content-type': 'application/json' };
    const { line, headers } = await signed({ method, target: '/parsed', headers: type, body });
    const got = await exchange(
      serving.port,
      head(line, [...headers, `Content-Length: ${body.length}`]),
      body,
    );
    expect(codes()).toEqual([]);
    // Fastify parses none of a GET.
    expect(JSON.parse(got.body)).toEqual({ body: method === 'GET' ? null : { a: 1 } });
  });

  it.each(['/parsed', '/form', '/stream'])('tampered-body: not handled by %s', async (target) => {
    const type = {
      '/parsed': 'text/plain',
      '/form': 'multipart/form-data; boundary=x',
      '/stream': 'application/x-stream',
    };
    const { line, headers } = await signed({
      target,
      headers: { 'content-type': type[target as keyof typeof type] },
      body: 'amount=1',
    });
    const got = await exchange(serving.port, head(line, [...headers, 'Content-Length: 8']), 'amount=9');
    expect([got.status, got.body]).toEqual([401, '{"error":"unauthorized"}']);
    expect(codes()).toEqual(['content_digest_mismatch']);
    expect(handled).toBe(0);
  });

  it('chunked, in small pieces', async () => {
    const type = { 'content-type': 'application/json' };
    const { line, headers } = await signed({ target: '/parsed', headers: type, body: '{"a":"ü"}' });
    const client = await RawClient.connect(serving.port);
    client.socket.setNoDelay(true);
    client.write(head(line, [...headers, 'Transfer-Encoding: chunked']));
    for (const byte of Buffer.from('{"a":"ü"}')) {
      client.write(Buffer.concat([Buffer.from('1\r\n'), Uint8Array.of(byte), Buffer.from('\r\n')]));
      await sleep(2);
    }
    client.write('0\r\n\r\n');
    expect(JSON.parse((await client.response()).body)).toEqual({ body: { a: 'ü' } });
    client.destroy();
  });

  it.each([
    ['Content-Length: 0', ''],
    ['Transfer-Encoding: chunked', '0\r\n\r\n'],
  ])('an empty body makes nobody hang: %s', async (framing, sent) => {
    for (const type of ['text/plain', 'application/octet-stream', 'application/json', '']) {
      const fields = type === '' ? {} : { headers: { 'content-type': type } };
      const { line, headers } = await signed({ target: '/parsed', ...fields });
      const got = await exchange(serving.port, head(line, [...headers, framing]), sent);
      expect(codes()).toEqual([]);
      // What Fastify itself says of a JSON body that is none, or of a body without a type.
      expect(got.status).not.toBe(401);
      if (type === 'text/plain') expect(got.status).toBe(200);
    }
  });

  it('a connection serves the next request after a handler whose parser leaves the body unread', async () => {
    const client = await RawClient.connect(serving.port);
    const body = randomBytes(250_000);
    for (let i = 0; i < 3; i++) {
      const { line, headers } = await signed({
        target: '/unread',
        headers: { 'content-type': 'application/x-stream' },
        body,
      });
      client.write(head(line, [...headers, `Content-Length: ${body.length}`]), body);
      expect((await client.response()).status).toBe(200);
    }
    client.destroy();
    expect(handled).toBe(3);
  });

  it('the client aborts in the middle of the body', async () => {
    const body = randomBytes(100_000);
    const { line, headers } = await signed({ target: '/stream', body });
    const client = await RawClient.connect(serving.port);
    client.write(head(line, [...headers, `Content-Length: ${body.length}`]), body.subarray(0, 60_000));
    await sleep(50);
    client.destroy();
    await expect.poll(codes).toEqual(['body_incomplete']);
    expect(handled).toBe(0);
    expect((await post('/parsed', 'next')).status).toBe(200);
  });

  describe('maxBodyBytes and bodyLimit both apply', () => {
    it('a body beyond maxBodyBytes gets our refusal, even if bodyLimit is larger', async () => {
      const response = await post('/wide', new Uint8Array(MAX + 1), 'application/octet-stream');
      expect([response.status, await response.text()]).toEqual([413, '{"error":"payload_too_large"}']);
      expect(codes()).toEqual(['payload_too_large']);
      expect(handled).toBe(0);
    });

    it('a body beyond bodyLimit gets the refusal of Fastify', async () => {
      expect((await post('/narrow', '12345')).status).toBe(200);
      const response = await post('/narrow', '123456');
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ code: 'FST_ERR_CTP_BODY_TOO_LARGE' });
      expect(codes()).toEqual([]);
    });
  });
});
