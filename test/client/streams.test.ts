import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
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
    'one that is not SHA-256 is replaced: %s',
    async (value) => {
      const init = { ...half, headers: { 'content-digest': value } };
      const body = Buffer.from('five!');
      await client.fetch(recorder.origin, { ...init, body: streamOf(body) } as RequestInit);
      expect(recorder.requests[0]?.header('content-digest')).toBe(digestOf(body));
      const large = client.fetch(recorder.origin, { ...init, body: streamOf(bytes) } as RequestInit);
      await expect(large).rejects.toMatchObject({ code: 'payload_too_large' });
    },
  );

  it('a body in memory is always hashed here, whatever the caller says', async () => {
    const wrong = { 'content-digest': digestOf(Buffer.from('another')) };
    await client.fetch(recorder.origin, { method: 'POST', headers: wrong, body: bytes });
    expect(recorder.requests[0]?.header('content-digest')).toBe(digestOf(bytes));
  });

  it('is sent once: the refusal of a wrong clock is returned, and the next request has the right time', async () => {
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

describe('a stream with a Content-Digest of the caller, while a slow key signs', () => {
  const headers = { 'content-digest': digestOf(bytes) };
  /** A client whose key signs once it is told to. */
  function slow() {
    let go: (error?: Error) => void = () => {};
    const told = new Promise<void>((resolve, reject) => {
      go = (error) => (error === undefined ? resolve() : reject(error));
    });
    let begin = () => {};
    const isSigning = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const signer = async () => {
      const { publicKey, sign } = await signerOf('controller');
      return {
        publicKey,
        async sign(message: Uint8Array) {
          begin();
          await told;
          return sign(message);
        },
      };
    };
    return { ...createClient({ signer }), isSigning, go: (error?: Error) => go(error) };
  }
  const makers: Record<string, () => { from: ReadableStream; call: [string | Request, RequestInit?] }> = {
    'a ReadableStream': () => {
      const from = streamOf(bytes.subarray(0, 3), bytes.subarray(3));
      return { from, call: [recorder.origin, { ...half, headers, body: from } as RequestInit] };
    },
    'a stream of bytes of the platform': () => {
      const from = new Blob([bytes]).stream();
      return { from, call: [recorder.origin, { ...half, headers, body: from } as RequestInit] };
    },
    'that of a Request': () => {
      const init = { ...half, headers, body: streamOf(bytes) } as RequestInit;
      const request = new Request(recorder.origin, init);
      return { from: request.body as ReadableStream, call: [request] };
    },
  };

  it.each(Object.entries(makers))('nobody else can read %s', async (_name, make) => {
    const client = slow();
    const { from, call } = make();
    const sending = client.fetch(...call);
    await client.isSigning;
    expect(from.locked).toBe(true);
    expect(() => from.getReader()).toThrow(TypeError);
    await expect(client.fetch(...call)).rejects.toThrow('The body is a stream that something else reads.');
    client.go();
    expect(await (await sending).text()).toBe('ok');
    expect(recorder.requests.map(({ body }) => body)).toEqual([bytes]);
  });

  it.each(Object.entries(makers))('%s can be sent again if the key fails', async (_name, make) => {
    const failing = slow();
    const { from, call } = make();
    const sending = failing.fetch(...call);
    await failing.isSigning;
    failing.go(new Error('no key'));
    await expect(sending).rejects.toThrow('no key');
    expect(from.locked).toBe(false);
    expect(await (await client.fetch(...call)).text()).toBe('ok');
    expect(recorder.requests.map(({ body }) => body)).toEqual([bytes]);
  });

  it('can be sent again if the caller gives up', async () => {
    const waiting = slow();
    const controller = new AbortController();
    const from = streamOf(bytes);
    const init = { ...half, headers, body: from } as RequestInit;
    const sending = waiting.fetch(recorder.origin, { ...init, signal: controller.signal });
    await waiting.isSigning;
    controller.abort();
    await expect(sending).rejects.toThrow('aborted');
    waiting.go();
    expect(await (await client.fetch(recorder.origin, init)).text()).toBe('ok');
  });

  it('fails the request if it fails in the meantime, and nothing else', async () => {
    const waiting = slow();
    let fail: (error: Error) => void = () => {};
    const from = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => {
        fail = (error) => controller.error(error);
      },
    });
    const sending = waiting.fetch(recorder.origin, { ...half, headers, body: from } as RequestInit);
    await waiting.isSigning;
    fail(new Error('broke off'));
    waiting.go();
    await expect(sending).rejects.toThrow(TypeError);
  });

  it('is free for the caller of an instance that cannot sign', async () => {
    const root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    const amesh = createAmesh({ dir: join(root, 'none'), env: {} });
    for (const call of [amesh.fetch, (url: string, init: object) => amesh.sign({ url, ...init })]) {
      const from = streamOf(bytes);
      await expect(call(recorder.origin, { method: 'POST', headers, body: from })).rejects.toMatchObject({
        code: 'no_identity',
      });
      expect(from.locked).toBe(false);
    }
    await rm(root, { recursive: true });
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
