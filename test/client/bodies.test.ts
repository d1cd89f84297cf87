import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createClient, isAmeshError } from '@authmesh/sdk/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';

import { type Recorded, type Recorder, startRecorder } from '../support/recorder';
import { digestOf, verdictOn } from '../support/verdict';

let recorder: Recorder;
let folder: string;

beforeAll(async () => {
  recorder = await startRecorder();
  folder = await mkdtemp(join(tmpdir(), 'amesh-client-'));
  await writeFile(join(folder, 'file.txt'), 'from a file\n');
});
beforeEach(() => {
  recorder.requests.length = 0;
});
afterAll(async () => {
  await recorder.close();
  await rm(folder, { recursive: true, maxRetries: 20 });
});

const client = createClient({ signer: () => signerOf('controller') });

/** Every kind of body, made anew for each request. */
const BODIES: Record<string, () => BodyInit | null | undefined> = {
  'no body': () => undefined,
  null: () => null,
  'an empty string': () => '',
  'a string': () => '{"grüße":"€ 𝄞"}',
  'a string with a lone surrogate': () => 'a\ud800b',
  URLSearchParams: () =>
    new URLSearchParams([
      ['a', '1 & 2'],
      ['ä', '€'],
    ]),
  'empty URLSearchParams': () => new URLSearchParams(),
  FormData: () => form(),
  'empty FormData': () => new FormData(),
  'a Blob with a type': () => new Blob(['blob'], { type: 'image/PNG; x=Y' }),
  'a Blob without a type': () => new Blob(['blob']),
  'an empty Blob': () => new Blob([]),
  'a File': () => new File(['file'], 'a.json', { type: 'application/json' }),
  'an ArrayBuffer': () => Uint8Array.of(0, 255, 13, 10).buffer,
  'an empty ArrayBuffer': () => new ArrayBuffer(0),
  'a Uint8Array': () => Uint8Array.of(1, 2, 3),
  'no bytes in a Uint8Array': () => new Uint8Array(),
  'a part of a Uint8Array': () => Uint8Array.of(9, 9, 1, 2, 3, 9).subarray(2, 5),
  'a Uint16Array in the middle of its buffer': () => new Uint16Array(Uint16Array.of(1, 2, 3, 4).buffer, 2, 2),
  'a Float64Array': () => Float64Array.of(Math.PI),
  'a Buffer out of the pool': () => Buffer.from('pooled'),
  'a DataView in the middle of its buffer': () => new DataView(Uint8Array.of(1, 2, 3, 4).buffer, 1, 2),
};

/** Bodies whose length nobody knows before: a plain fetch sends them in chunks. */
const STREAMS: Record<string, () => BodyInit> = {
  'a ReadableStream': () => stream('one', 'two'),
  'the body of another Request': () => new Request('http://x', { method: 'PUT', body: 'x' }).body as BodyInit,
  'an async iterable': () =>
    (async function* () {
      yield Buffer.from('three');
      yield Buffer.from('four');
    })() as unknown as BodyInit,
  'a read stream of node:fs': () => createReadStream(join(folder, 'file.txt')) as unknown as BodyInit,
};

describe.each(Object.entries(BODIES))('%s', (_name, body) => {
  it('goes out as fetch itself sends it, and is accepted', async () => {
    const [plain, signed] = await sendBoth(body);
    expect(unsigned(signed)).toEqual(unsigned(plain));
    expect(bytesOf(signed)).toEqual(bytesOf(plain));
    expect(await verdictOn(signed)).toBe('accepted');
    expect(signed.header('content-digest')).toBe(
      signed.body.length === 0 ? undefined : digestOf(signed.body),
    );
  });

  it('in a Request goes out as fetch itself sends it, and is accepted', async () => {
    const init = () => ({ method: 'POST', body: body() ?? null });
    await fetch(new Request(recorder.origin, init()));
    await client.fetch(new Request(recorder.origin, init()));
    const [plain, signed] = recorder.requests as [Recorded, Recorded];
    expect(unsigned(signed)).toEqual(unsigned(plain));
    expect(bytesOf(signed)).toEqual(bytesOf(plain));
    expect(await verdictOn(signed)).toBe('accepted');
  });
});

describe.each(Object.entries(STREAMS))('%s', (_name, body) => {
  it('is buffered, and goes out with its length', async () => {
    const [plain, signed] = await sendBoth(body);
    expect(plain.header('transfer-encoding')).toBe('chunked');
    expect(signed.header('transfer-encoding')).toBeUndefined();
    expect(signed.header('content-length')).toBe(String(plain.body.length));
    expect(unsigned(signed, FRAMING)).toEqual(unsigned(plain, FRAMING));
    expect(signed.body).toEqual(plain.body);
    expect(await verdictOn(signed)).toBe('accepted');
  });
});

it('a content-type given by the caller stands', async () => {
  for (const body of [
    'text',
    new URLSearchParams('a=1'),
    new Blob(['x'], { type: 'text/css' }),
    stream('x'),
  ]) {
    await client.fetch(recorder.origin, {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/x-own' },
    });
    expect(recorder.requests.at(-1)?.header('content-type')).toBe('application/x-own');
  }
  await expectAllAccepted();
});

it('a Content-Digest given by the caller is replaced, or dropped if there is no byte', async () => {
  const headers = { 'Content-Digest': 'sha-256=:AAAA:' };
  await client.fetch(recorder.origin, { method: 'POST', body: 'text', headers });
  await client.fetch(recorder.origin, { method: 'POST', body: '', headers });
  await client.fetch(recorder.origin, { headers });
  expect(recorder.requests.map((request) => request.header('content-digest'))).toEqual([
    digestOf(Buffer.from('text')),
    undefined,
    undefined,
  ]);
  await expectAllAccepted();
});

describe('a stream beyond maxBufferedBytes', () => {
  const small = createClient({ signer: () => signerOf('controller'), maxBufferedBytes: 5 });

  it.each([
    ['a ReadableStream', () => stream('123', '456')],
    ['an async iterable', () => STREAMS['a read stream of node:fs']?.() as BodyInit],
  ])('%s is refused before anything is sent, by an error that says how to raise it', async (_name, body) => {
    const error = await small
      .fetch(recorder.origin, { method: 'POST', body: body() })
      .catch((thrown) => thrown);
    expect(isAmeshError(error) && error.code).toBe('payload_too_large');
    expect(error.message).toMatch(/ 5 bytes.*Raise maxBufferedBytes of createAmesh\(\)/);
    expect(recorder.requests).toEqual([]);
  });

  it('is cancelled', async () => {
    let reason: unknown = 'nothing';
    let pulls = 0;
    const body = new ReadableStream({
      pull(controller) {
        pulls++;
        controller.enqueue(new Uint8Array(2));
      },
      cancel(given) {
        reason = given;
      },
    });
    await expect(small.fetch(recorder.origin, { method: 'POST', body })).rejects.toThrow(/5 bytes/);
    expect(reason).toBeUndefined();
    expect(pulls).toBeLessThan(6);
  });

  it('of exactly that many bytes is sent', async () => {
    await small.fetch(recorder.origin, { method: 'POST', body: stream('123', '45') });
    expect(recorder.requests[0]?.body.toString()).toBe('12345');
    await expectAllAccepted();
  });

  it('is 10 MiB by default', async () => {
    const mebibytes = (count: number) => stream(...Array<string>(count).fill('x'.repeat(1_048_576)));
    await client.fetch(recorder.origin, { method: 'POST', body: mebibytes(10) });
    expect(recorder.requests[0]?.body.length).toBe(10_485_760);
    await expect(client.fetch(recorder.origin, { method: 'POST', body: mebibytes(11) })).rejects.toThrow(
      / 10485760 bytes/,
    );
  });

  it('bodies that are already in memory have no limit', async () => {
    await small.fetch(recorder.origin, { method: 'POST', body: 'more than five' });
    expect(recorder.requests[0]?.body.toString()).toBe('more than five');
  });
});

describe('a body that is not a body', () => {
  it.each([
    ['a stream of text', () => new ReadableStream({ start: (controller) => controller.enqueue('text') })],
    ['a stream that was read', () => read(stream('x'))],
    [
      'a stream that somebody else reads',
      () => {
        const body = stream('x');
        body.getReader();
        return body;
      },
    ],
    [
      'a stream that fails',
      () => new ReadableStream({ start: (controller) => controller.error(new TypeError('broke off')) }),
    ],
  ])('%s rejects, and nothing is sent', async (_name, make) => {
    const body = await make();
    await expect(client.fetch(recorder.origin, { method: 'POST', body })).rejects.toThrow(TypeError);
    expect(recorder.requests).toEqual([]);
  });

  it('a Request that was already read is a TypeError, not an empty body', async () => {
    const request = new Request(recorder.origin, { method: 'POST', body: 'x' });
    await request.text();
    await expect(fetch(request)).rejects.toThrow(TypeError);
    await expect(client.fetch(request)).rejects.toThrow('The body of this Request was already read.');
    expect(recorder.requests).toEqual([]);
  });

  it.each(['GET', 'HEAD'])('a %s with a body is a TypeError, as with fetch', async (method) => {
    for (const call of [fetch, client.fetch]) {
      await expect(call(recorder.origin, { method, body: '' })).rejects.toThrow(TypeError);
      const request = new Request(recorder.origin, { method: 'POST', body: 'x' });
      await expect(call(request, { method })).rejects.toThrow(TypeError);
    }
    expect(recorder.requests).toEqual([]);
  });
});

/** The same request by plain fetch and by the client. */
async function sendBoth(
  body: () => BodyInit | null | undefined,
): Promise<[plain: Recorded, signed: Recorded]> {
  for (const call of [fetch, client.fetch]) {
    const init = { method: 'POST', body: body() ?? null, duplex: 'half', headers: { 'X-Own': 'a, b' } };
    const response = await call(`${recorder.origin}/path?q=1`, init as RequestInit);
    expect(await response.text()).toBe('ok');
  }
  return recorder.requests as [Recorded, Recorded];
}

const FRAMING = /^(?:transfer-encoding|content-length)$/;

/** The headers of a request but for those that signing adds, and the boundary of a form. */
function unsigned(request: Recorded, except = /^$/): [string, readonly string[]][] {
  return Object.entries(request.headers)
    .filter(([name]) => !/^(?:authorization|content-digest|signature.*|authmesh-.*)$/.test(name))
    .filter(([name]) => !except.test(name))
    .map(([name, lines]): [string, string[]] => [
      name,
      lines.map((line) => line.replaceAll(boundary(request), 'B')),
    ])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

function bytesOf(request: Recorded): string {
  return request.body.toString('latin1').replaceAll(boundary(request), 'B');
}

function boundary(request: Recorded): string {
  return /boundary=(.+)$/.exec(request.header('content-type') ?? '')?.[1] ?? '\0';
}

async function expectAllAccepted(): Promise<void> {
  for (const request of recorder.requests) expect(await verdictOn(request)).toBe('accepted');
}

function form(): FormData {
  const data = new FormData();
  data.append('name', 'vål\nue');
  data.append('a "quoted"\r\nname', '1');
  data.append('another\nname\r', '\n\r\r\n');
  data.append('file', new File([Uint8Array.of(0, 1, 255)], 'f "1".bin', { type: 'application/x-own' }));
  data.append('blob', new Blob(['untyped']));
  return data;
}

function stream(...parts: string[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
      controller.close();
    },
  });
}

async function read(body: ReadableStream<Uint8Array<ArrayBuffer>>) {
  await new Response(body).text();
  return body;
}

describe('a body that was already read is a TypeError, and nothing is sent', () => {
  const generator = async function* () {
    yield Buffer.from('once');
  };
  const drain = async (stream: unknown) => {
    for await (const _ of stream as AsyncIterable<unknown>);
  };
  const used: Record<string, () => unknown> = {
    'a file stream that has ended': async () => {
      const stream = createReadStream(join(folder, 'file.txt'));
      await drain(stream);
      return stream;
    },
    'a file stream that was destroyed': () => createReadStream(join(folder, 'file.txt')).destroy(),
    'a Readable of which a part was read': async () => {
      const stream = Readable.from([Buffer.from('a'), Buffer.from('b')]);
      await once(stream, 'readable');
      stream.read();
      return stream;
    },
    'a ReadableStream that was read to its end': async () => {
      const stream = new Blob(['x']).stream();
      await drain(stream);
      return stream;
    },
    'a ReadableStream of which a part was read': async () => {
      const stream = new Blob(['x']).stream();
      const reader = stream.getReader();
      await reader.read();
      reader.releaseLock();
      return stream;
    },
    'a ReadableStream that was locked': () => {
      const stream = new Blob(['x']).stream();
      stream.getReader();
      return stream;
    },
    'a ReadableStream that was teed': () => {
      const stream = new Blob(['x']).stream();
      stream.tee();
      return stream;
    },
    'a generator that was sent before': async () => {
      const body = generator();
      await client.fetch(recorder.origin, { method: 'POST', body: body as unknown as BodyInit });
      recorder.requests.length = 0;
      return body;
    },
    'an object with one iterator for all, sent before': async () => {
      const iterator = generator();
      const body = { [Symbol.asyncIterator]: () => iterator };
      await client.fetch(recorder.origin, { method: 'POST', body: body as unknown as BodyInit });
      recorder.requests.length = 0;
      return body;
    },
  };

  it.each(Object.entries(used))('%s', async (_name, make) => {
    const body = (await make()) as BodyInit;
    for (const headers of [{}, { 'content-digest': digestOf(Buffer.from('once')) }]) {
      const call = client.fetch(recorder.origin, {
        method: 'POST',
        headers,
        body,
        duplex: 'half',
      } as RequestInit);
      await expect(call).rejects.toThrow(TypeError);
    }
    expect(recorder.requests).toEqual([]);
  });

  it('one branch of a teed stream, and an object with an iterator for each call, are sent', async () => {
    const [body] = new Blob(['branch']).stream().tee();
    await client.fetch(recorder.origin, { method: 'POST', body });
    const again = { [Symbol.asyncIterator]: generator } as unknown as BodyInit;
    await client.fetch(recorder.origin, { method: 'POST', body: again });
    await client.fetch(recorder.origin, { method: 'POST', body: again });
    expect(recorder.requests.map((request) => request.body.toString())).toEqual(['branch', 'once', 'once']);
  });
});
