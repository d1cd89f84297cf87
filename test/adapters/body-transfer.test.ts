import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RequestHandler } from 'express';
import multer from 'multer';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { frameworks } from '../support/frameworks';
import { latest } from '../support/full';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');

/** A body in chunks of the given size, and the last chunk. */
function chunked(body: Uint8Array, size: number, end = '0\r\n\r\n'): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length; at += size) {
    const chunk = body.subarray(at, at + size);
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), Buffer.from(chunk), Buffer.from('\r\n'));
  }
  return Buffer.concat([...parts, Buffer.from(end)]);
}

const MAX = 300_000;

describe.each(latest(frameworks))('transfer of bodies through $name', ({ express }) => {
  let machines: Machines;
  let server: Listening;
  let handled: number;
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => void unhandled.push(reason);

  const parsers: Record<string, RequestHandler[]> = {
    '/pipe': [],
    '/json': [express.json()],
    '/urlencoded': [express.urlencoded({ extended: false })],
    '/multer': [multer().any()],
    '/text': [express.text({ type: '*/*' })],
    '/raw': [express.raw({ type: '*/*' })],
  };

  beforeAll(async () => {
    process.on('unhandledRejection', onUnhandled);
    machines = await createMachines();
    const verify = machines.target.verify({ maxBodyBytes: MAX });
    const app = express();
    for (const [path, handlers] of Object.entries(parsers)) {
      app.all(path, verify, ...handlers, async (request, response) => {
        handled++;
        // Also after a parser that has left the stream alone.
        const bytes = request.readableEnded ? null : Buffer.concat(await request.toArray());
        response.json({ sha256: bytes && sha256(bytes), body: request.body ?? null });
      });
      app.all(`/before${path}`, ...handlers, verify, (request, response) => {
        handled++;
        response.json({ body: request.body ?? null });
      });
    }
    // Its nonce store is still asked when the client goes away.
    const slow = machines.target.verify({ nonceStore: { claim: () => sleep(100, true) } });
    app.all('/slow', slow, () => void handled++);
    app.all('/unread', verify, (_request, response) => {
      handled++;
      response.json({});
    });
    server = await listen(app);
  });
  afterAll(async () => {
    await server.close();
    await machines.remove();
    process.off('unhandledRejection', onUnhandled);
    expect(unhandled).toEqual([]);
  });
  beforeEach(() => {
    machines.refusals.length = 0;
    handled = 0;
  });

  const codes = () => machines.refusals.map(({ code }) => code);
  const signed = (request: Parameters<typeof signedRaw>[2]) =>
    signedRaw(machines.signer, server.authority, request);

  async function expectServing() {
    const response = await machines.controller.fetch(`${server.origin}/pipe`, {
      method: 'POST',
      body: 'next',
    });
    expect(await response.json()).toMatchObject({ sha256: sha256('next') });
  }

  it.each([1, 7, 1000, 70_000])('chunked, in chunks of %i bytes', async (size) => {
    const body = randomBytes(size === 1 ? 500 : 200_000);
    const { line, headers } = await signed({ method: 'POST', target: '/pipe', body });
    const response = await exchange(
      server.port,
      head(line, [...headers, 'Transfer-Encoding: chunked']),
      chunked(body, size),
    );
    expect(codes()).toEqual([]);
    expect(JSON.parse(response.body)).toMatchObject({ sha256: sha256(body) });
  });

  it('a body that arrives in small pieces, split anywhere', async () => {
    const body = Buffer.from('{"a":"grüße"}');
    const { line, headers } = await signed({
      method: 'POST',
      target: '/json',
      headers: { 'content-type': 'application/json' },
      body,
    });
    const client = await RawClient.connect(server.port);
    client.socket.setNoDelay(true);
    client.write(head(line, [...headers, `Content-Length: ${body.length}`]));
    for (const byte of body) {
      client.write(Uint8Array.of(byte));
      await sleep(2);
    }
    expect(JSON.parse((await client.response()).body)).toMatchObject({ body: { a: 'grüße' } });
    client.destroy();
  });

  describe.each([
    { name: 'Content-Length: 0', header: 'Content-Length: 0', body: '' },
    { name: 'chunked without a chunk', header: 'Transfer-Encoding: chunked', body: '0\r\n\r\n' },
  ])('empty body, $name', ({ header, body }) => {
    const types = ['application/json', 'application/x-www-form-urlencoded', 'text/plain', ''];
    const paths = Object.keys(parsers).filter((path) => path !== '/multer');

    it.each(paths.flatMap((path) => types.map((type) => ({ path, type }))))(
      'does not hang $path after verify(), content-type "$type"',
      async ({ path, type }) => {
        const { line, headers } = await signed({
          method: 'POST',
          target: path,
          ...(type === '' ? {} : { headers: { 'content-type': type } }),
        });
        const response = await exchange(server.port, head(line, [...headers, header]), body);
        expect(codes()).toEqual([]);
        expect(response.status).toBe(200);
        expect([null, sha256('')]).toContain(JSON.parse(response.body).sha256);
      },
    );

    it.each(paths.flatMap((path) => types.map((type) => ({ path, type }))))(
      'passes with $path before verify(), content-type "$type"',
      async ({ path, type }) => {
        const { line, headers } = await signed({
          method: 'POST',
          target: `/before${path}`,
          ...(type === '' ? {} : { headers: { 'content-type': type } }),
        });
        const response = await exchange(server.port, head(line, [...headers, header]), body);
        expect(codes()).toEqual([]);
        expect(response.status).toBe(200);
      },
    );

    it('ends for a handler that pipes it', async () => {
      const { line, headers } = await signed({ method: 'GET', target: '/pipe' });
      const response = await exchange(server.port, head(line, [...headers, header]), body);
      expect(JSON.parse(response.body)).toMatchObject({ sha256: sha256('') });
    });

    it('reports a form without parts, and multer does not hang', async () => {
      const { line, headers } = await signed({
        method: 'POST',
        target: '/multer',
        headers: { 'content-type': 'multipart/form-data; boundary=x' },
      });
      const response = await exchange(server.port, head(line, [...headers, header]), body);
      expect(codes()).toEqual([]);
      expect(response.status).toBe(500); // multer's own: unexpected end of form
    });
  });

  it('Expect: 100-continue is answered, and the body is verified', async () => {
    const body = randomBytes(1000);
    const { line, headers } = await signed({ method: 'PUT', target: '/pipe', body });
    const client = await RawClient.connect(server.port);
    client.write(head(line, [...headers, `Content-Length: ${body.length}`, 'Expect: 100-continue']));
    expect((await client.response()).status).toBe(100);
    client.write(body);
    expect(JSON.parse((await client.response()).body)).toMatchObject({ sha256: sha256(body) });
    client.destroy();
  });

  it.each([
    ['/pipe', 'content-length'],
    ['/pipe', 'chunked'],
    ['/slow', 'content-length'],
    ['/slow', 'chunked'],
  ])('%s: the client aborts in the middle of the body, %s', async (target, framing) => {
    const body = randomBytes(100_000);
    const { line, headers } = await signed({ method: 'POST', target, body });
    const client = await RawClient.connect(server.port);
    if (framing === 'chunked') {
      client.write(head(line, [...headers, 'Transfer-Encoding: chunked']), chunked(body, 70_000, ''));
    } else {
      client.write(head(line, [...headers, `Content-Length: ${body.length}`]), body.subarray(0, 60_000));
    }
    await sleep(50);
    client.destroy();
    await expect.poll(codes).toEqual(['body_incomplete']);
    expect(handled).toBe(0);
    await expectServing();
  });

  it('a connection serves the next request after a handler that leaves the body unread', async () => {
    const client = await RawClient.connect(server.port);
    for (let i = 0; i < 3; i++) {
      const body = randomBytes(250_000);
      const { line, headers } = await signed({ method: 'POST', target: '/unread', body });
      client.write(head(line, [...headers, `Content-Length: ${body.length}`]), body);
      expect((await client.response()).status).toBe(200);
    }
    expect(handled).toBe(3);
    client.destroy();
  });

  it('two requests in one packet', async () => {
    const one = await signed({ method: 'POST', target: '/pipe', body: 'one' });
    const two = await signed({ method: 'POST', target: '/pipe', body: 'two' });
    const client = await RawClient.connect(server.port);
    const text = (request: typeof one) =>
      Buffer.concat([
        Buffer.from(head(request.line, [...request.headers, 'Content-Length: 3'])),
        request.body,
      ]);
    client.write(Buffer.concat([text(one), text(two)]));
    expect(JSON.parse((await client.response()).body)).toMatchObject({ sha256: sha256('one') });
    expect(JSON.parse((await client.response()).body)).toMatchObject({ sha256: sha256('two') });
    client.destroy();
  });

  describe('maxBodyBytes', () => {
    it('accepts a body of exactly that size', async () => {
      const body = randomBytes(MAX);
      const response = await machines.controller.fetch(`${server.origin}/pipe`, { method: 'POST', body });
      expect(await response.json()).toMatchObject({ sha256: sha256(body) });
    });

    it('refuses a longer Content-Length before any byte of the body has arrived', async () => {
      const body = randomBytes(MAX + 1);
      const { line, headers } = await signed({ method: 'POST', target: '/pipe', body });
      const client = await RawClient.connect(server.port);
      client.write(head(line, [...headers, `Content-Length: ${body.length}`]));
      const response = await client.response();
      expect(response.status).toBe(413);
      expect(response.body).toBe('{"error":"payload_too_large"}');
      expect(response.headers.connection).toBe('close');
      expect(codes()).toEqual(['payload_too_large']);
      expect(handled).toBe(0);
      client.destroy();
      await expectServing();
    });

    it('refuses chunks beyond it without waiting for the last chunk', async () => {
      const body = randomBytes(MAX + 1);
      const { line, headers } = await signed({ method: 'POST', target: '/pipe', body });
      const client = await RawClient.connect(server.port);
      client.write(head(line, [...headers, 'Transfer-Encoding: chunked']), chunked(body, 9000, ''));
      const response = await client.response();
      expect(response.status).toBe(413);
      expect(response.headers.connection).toBe('close');
      expect(codes()).toEqual(['payload_too_large']);
      client.destroy();
      await expectServing();
    });

    it('refuses a body that an express.raw() in front has read beyond it', async () => {
      const small = machines.targetWith({});
      const app = express();
      app.use(
        express.raw({ type: '*/*', limit: '1mb' }),
        small.verify({ maxBodyBytes: 10 }),
        (_request, response) => {
          response.end('in');
        },
      );
      const other = await listen(app);
      const response = await machines.controller.fetch(other.origin, {
        method: 'POST',
        body: 'eleven byte',
      });
      expect(response.status).toBe(413);
      expect(codes()).toEqual(['payload_too_large']);
      await other.close();
    });
  });
});
