import { createHash } from 'node:crypto';
import { createClient, streamUnverifiedBody } from '@authmesh/sdk/core';
import express from 'express';
import { describe, expect, it } from 'vitest';
import { NOW, signerOf } from '../support/core';
import { listen } from '../support/listen';
import { createMachines } from '../support/machines';
import { startRecorder } from '../support/recorder';
import { useRecorder } from '../support/use-recorder';
import { digestOf, verdictOn } from '../support/verdict';

const MIB = 1_048_576;

const recorder = useRecorder();

/** More than five bytes do not fit into its memory. */
const client = createClient({ signer: () => signerOf('controller'), maxBufferedBytes: 5 });

const bytes = Buffer.from('more than five bytes');
const half = { method: 'POST', duplex: 'half' } as const;

function streamOf(...chunks: Uint8Array[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    pull(controller) {
      const chunk = chunks.shift();
      if (chunk === undefined) controller.close();
      else controller.enqueue(new Uint8Array(chunk));
    },
  });
}

describe('a stream with a Content-Digest of the caller', () => {
  const headers = { 'content-digest': digestOf(bytes) };
  const bodies: Record<string, () => [string | Request, RequestInit?]> = {
    'a ReadableStream': () => [recorder.origin, { ...half, headers, body: streamOf(bytes) }],
    'an async iterable': () => {
      const body = (async function* () {
        yield bytes.subarray(0, 3);
        yield bytes.subarray(3);
      })();
      return [recorder.origin, { ...half, headers, body: body as unknown as BodyInit }];
    },
    'a Request': () => [
      new Request(recorder.origin, { ...half, headers, body: streamOf(bytes) } as RequestInit),
    ],
  };

  it.each(Object.entries(bodies))('%s is sent without being buffered', async (_name, make) => {
    expect(await (await client.fetch(...make())).text()).toBe('ok');
    const [request] = recorder.requests;
    expect(request?.body).toEqual(bytes);
    expect(request?.header('transfer-encoding')).toBe('chunked');
    expect(request?.header('content-digest')).toBe(digestOf(bytes));
    expect(await verdictOn(request as never)).toBe('accepted');
  });

  it('a wrong one is refused by the server', async () => {
    const wrong = { 'content-digest': digestOf(Buffer.from('another')) };
    await client.fetch(recorder.origin, { ...half, headers: wrong, body: streamOf(bytes) } as RequestInit);
    expect(await verdictOn(recorder.requests[0] as never)).toBe('content_digest_mismatch');
  });

  it.each(['sha-512=:AAAA:', 'sha-256=:AAAA:', 'nonsense'])(
    'one that is no SHA-256 is replaced: %s',
    async (value) => {
      const init = { ...half, headers: { 'content-digest': value } };
      const body = Buffer.from('five!');
      await client.fetch(recorder.origin, { ...init, body: streamOf(body) } as RequestInit);
      expect(recorder.requests[0]?.header('content-digest')).toBe(digestOf(body));
      const large = client.fetch(recorder.origin, { ...init, body: streamOf(bytes) } as RequestInit);
      await expect(large).rejects.toMatchObject({ code: 'payload_too_large' });
    },
  );

  it('a body in memory is hashed here whatever the caller says', async () => {
    const wrong = { 'content-digest': digestOf(Buffer.from('another')) };
    await client.fetch(recorder.origin, { method: 'POST', headers: wrong, body: bytes });
    expect(recorder.requests[0]?.header('content-digest')).toBe(digestOf(bytes));
  });

  it('is sent once: the answer to a wrong clock comes back, and the next request has the right time', async () => {
    const late = createClient({ signer: () => signerOf('controller'), now: () => NOW * 1000 });
    const date = new Date((NOW - 100) * 1000).toUTCString();
    recorder.answer = (_request, response) => {
      response.setHeader('date', date);
      response.setHeader('www-authenticate', 'AuthMesh error="timestamp_out_of_range"');
      response.statusCode = 401;
      response.end();
    };
    const response = await late.fetch(recorder.origin, {
      ...half,
      headers,
      body: streamOf(bytes),
    } as RequestInit);
    expect(response.status).toBe(401);
    expect(recorder.requests).toHaveLength(1);
    recorder.answer = (_request, answer) => void answer.end();
    await late.fetch(recorder.origin);
    expect(recorder.requests[1]?.header('authorization')).toContain(`ts="${NOW - 100}"`);
  });

  it('is not sent along a redirect', async () => {
    const other = await startRecorder();
    const redirect = (status: number) => {
      recorder.answer = (_request, response) => {
        response.writeHead(status, { location: other.origin });
        response.end();
      };
    };
    redirect(307);
    await expect(
      client.fetch(recorder.origin, { ...half, headers, body: streamOf(bytes) } as RequestInit),
    ).rejects.toThrow(/redirects, but a streamed body cannot be sent twice\.$/);
    redirect(303);
    await client.fetch(recorder.origin, { ...half, headers, body: streamOf(bytes) } as RequestInit);
    expect(other.requests.map(({ method, body }) => [method, body.length])).toEqual([['GET', 0]]);
    expect(other.requests[0]?.header('content-digest')).toBeUndefined();
    await other.close();
  });
});

it('64 MiB from end to end, while nobody holds more than a part', async () => {
  const machines = await createMachines();
  const app = express();
  app.use(machines.target.verify({ [streamUnverifiedBody]: true, maxBodyBytes: 64 * MIB }));
  let received = 0;
  app.put('/', async (request, response) => {
    for await (const chunk of request) received += chunk.length;
    response.send('stored');
  });
  const server = await listen(app);
  const block = new Uint8Array(MIB).fill(7);
  const hash = createHash('sha256');
  for (let i = 0; i < 64; i++) hash.update(block);
  let sent = 0;
  let furthestAhead = 0;
  const body = new ReadableStream({
    pull(controller) {
      furthestAhead = Math.max(furthestAhead, sent - received);
      if (sent === 64 * MIB) return controller.close();
      sent += block.length;
      controller.enqueue(block);
    },
  });
  const response = await machines.controller.fetch(server.origin, {
    method: 'PUT',
    headers: { 'content-digest': `sha-256=:${hash.digest('base64')}:` },
    body,
  });
  expect(await response.text()).toBe('stored');
  expect(received).toBe(64 * MIB);
  expect(furthestAhead).toBeLessThan(24 * MIB); // what the kernel takes on loopback included
  await server.close();
  await machines.remove();
});
