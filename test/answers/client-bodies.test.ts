import { setTimeout } from 'node:timers/promises';
import { allowUnprovenBody, provenBy } from '@authmesh/sdk/core';
import { webCrypto } from '@authmesh/sdk/crypto/web';
import { createAdaptorServer } from '@hono/node-server';
import { beforeEach, describe, expect, it } from 'vitest';
import { times } from '../support/full';
import { askingClient, type Hands, useProvingServer } from '../support/proving-server';

const server = useProvingServer();
const client = askingClient();
beforeEach(() => server.reset());

const MIB = 1024 ** 2;
/** Far more than is held of a body at a time. */
const LARGE_MIB = times(8, 64);
const unproven = expect.objectContaining({ code: 'answer_unproven' });

/** All ways to read a body, each of which gives its bytes. */
const READERS: Readonly<Record<string, (response: Response) => Promise<Buffer>>> = {
  text: async (response) => Buffer.from(await response.text()),
  arrayBuffer: async (response) => Buffer.from(await response.arrayBuffer()),
  blob: async (response) => Buffer.from(await (await response.blob()).arrayBuffer()),
  json: async (response) => Buffer.from(JSON.stringify(await response.json())),
  bytes: async (response) => {
    const { bytes } = response as { bytes?: () => Promise<Uint8Array> }; // not in Node 20
    return bytes === undefined
      ? Buffer.from(await response.arrayBuffer())
      : Buffer.from(await bytes.call(response));
  },
  'its stream': async ({ body }) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (body ?? []) as unknown as AsyncIterable<Uint8Array>) chunks.push(chunk);
    return Buffer.concat(chunks);
  },
  'a clone': async (response) => {
    const copy = response.clone();
    const [one, other] = await Promise.all([response.text(), copy.text()]);
    expect(one).toBe(other);
    return Buffer.from(one);
  },
  'a Response around it': async (response) => Buffer.from(await new Response(response.body).text()),
  'a pipe': async ({ body }) =>
    Buffer.from(await new Response(body?.pipeThrough(new TransformStream())).arrayBuffer()),
};

const textOf = (length: number) => JSON.stringify('x'.repeat(length - 2));

describe.each(Object.entries(READERS))('a body that is read by %s', (name, read) => {
  it.each(name === 'json' ? [2, 1024, MIB] : [2, 1023, 65_536, 65_537, MIB])('%i bytes', async (length) => {
    const text = textOf(length);
    server.routes.set('/', () => ({ body: text }));
    const response = await client.fetch(server.origin);
    expect((await read(response)).equals(Buffer.from(text))).toBe(true);
    expect(provenBy(response)?.body).toBe(true);
  });

  it.each<[string, (text: string) => string]>([
    ['changed at its beginning', (text) => `'${text.slice(1)}`],
    ['changed at its end', (text) => `${text.slice(0, -1)}'`],
    ['cut', (text) => text.slice(0, -1)],
    ['longer', (text) => `${text} `],
    ['empty', () => ''],
    ['another JSON', () => '"y"'],
  ])('fails with answer_unproven if it is %s', async (_name, change) => {
    for (const length of [10, 200_000]) {
      server.routes.set('/', () => ({ body: textOf(length) }));
      server.hands = (answer) => ({ ...answer, body: Buffer.from(change(answer.body.toString())) });
      const reading = client.fetch(server.origin).then(read);
      await expect(reading).rejects.toEqual(unproven);
    }
  });
});

describe('a body', () => {
  /** Sends the right body piece by piece, and then what `end` does. */
  const inPieces =
    (pieces: number, end: () => Promise<void> = async () => {}): Hands =>
    (answer) => {
      const size = Math.ceil(answer.body.length / pieces);
      async function* stream() {
        for (let i = 0; i < answer.body.length; i += size) yield answer.body.subarray(i, i + size);
        await end();
      }
      return { ...answer, stream: stream() };
    };

  it(`of ${LARGE_MIB} MiB`, async () => {
    const big = Buffer.alloc(LARGE_MIB * MIB, 'x');
    server.routes.set('/', () => ({ body: big }));
    server.hands = inPieces(1000);
    const response = await client.fetch(server.origin);
    let length = 0;
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) length += chunk.length;
    expect(length).toBe(LARGE_MIB * MIB);
    server.hands = (answer) => ({ ...answer, body: Buffer.concat([answer.body, Buffer.from('x')]) });
    const longer = await client.fetch(server.origin);
    await expect(longer.body?.pipeTo(new WritableStream())).rejects.toEqual(unproven);
  });

  it('that arrives byte by byte', async () => {
    server.routes.set('/', () => ({ body: 'hello, world' }));
    server.hands = inPieces(12);
    expect(await (await client.fetch(server.origin)).text()).toBe('hello, world');
  });

  it('whose connection breaks fails, even if every byte of it has arrived', async () => {
    server.routes.set('/', () => ({ body: 'x'.repeat(100_000) }));
    for (const pieces of [1, 3]) {
      server.hands = inPieces(pieces, () => Promise.reject(new Error('the server crashed')));
      const response = await client.fetch(server.origin);
      await expect(response.text()).rejects.toThrow();
    }
  });

  it('that is aborted fails with an AbortError', async () => {
    server.routes.set('/', () => ({ body: 'x'.repeat(100_000) }));
    server.hands = inPieces(10, () => new Promise(() => {}));
    const aborting = new AbortController();
    const response = await client.fetch(server.origin, { signal: aborting.signal });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    aborting.abort();
    const rest = async () => {
      for (;;) if ((await reader.read()).done) return;
    };
    await expect(rest()).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('that nobody reads closes the connection when it is cancelled', async () => {
    server.routes.set('/', () => ({ body: 'x'.repeat(100_000) }));
    server.hands = inPieces(2, () => new Promise(() => {}));
    const response = await client.fetch(server.origin);
    const [{ socket }] = server.seen as [(typeof server.seen)[0]];
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await response.body?.cancel();
    await closed;
  });

  it('is read no faster than its reader reads', async () => {
    let pulled = 0;
    const counting = (async (...call: Parameters<typeof fetch>) => {
      const { status, headers } = await fetch(...call);
      const pull = (controller: ReadableStreamDefaultController) => {
        pulled++;
        controller.enqueue(new Uint8Array(1000));
      };
      return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), { status, headers });
    }) as typeof fetch;
    const response = await askingClient({ fetch: counting }).fetch(server.origin);
    expect(pulled).toBe(0);
    await response.body?.getReader().read();
    expect(pulled).toBe(2); // the one that is read, and the one that is held back
  });
});

describe('a proven response', () => {
  interface Held {
    response: Response;
    reader?: ReadableStreamDefaultReader<Uint8Array>;
  }
  const bytesOf = (body: ArrayBuffer | Uint8Array) => Buffer.from(body as Uint8Array).toString();
  /** What a program does with a response, and what it sees. */
  const STEPS: Readonly<Record<string, (held: Held) => unknown>> = {
    text: ({ response }) => response.text(),
    json: ({ response }) => response.json(),
    arrayBuffer: async ({ response }) => bytesOf(await response.arrayBuffer()),
    blob: async ({ response }) => (await response.blob()).type,
    lock: (held) => {
      held.reader = response(held).body?.getReader() as NonNullable<Held['reader']>;
    },
    read: async ({ reader }) => {
      const { done, value } = (await reader?.read()) ?? {};
      return [done, value !== undefined];
    },
    release: ({ reader }) => reader?.releaseLock(),
    // That of a clone waits for the other one.
    cancel: ({ response }) => Promise.race([response.body?.cancel(), setTimeout(20)]),
    'read a clone': ({ response }) => response.clone().text(),
    'go on with a clone': (held) => {
      held.response = held.response.clone();
    },
  };
  const response = (held: Held) => held.response;
  const see = async (held: Held, steps: readonly string[]) => {
    const seen: unknown[] = [];
    for (const step of steps) {
      const said = await Promise.resolve(held)
        .then(STEPS[step])
        .catch(({ name }: Error) => name);
      seen.push([step, said, held.response.bodyUsed, held.response.body?.locked]);
    }
    void held.reader?.cancel().catch(() => {});
    void held.response.body?.cancel().catch(() => {});
    return seen;
  };
  const all = Object.keys(STEPS);

  it.each([
    ['JSON', '\uFEFF{"a":1}'],
    ['no JSON', '\uFEFFno \u{1F40C} JSON'],
  ])('is read as any other is, whatever is done with it before: %s', async (_name, body) => {
    server.routes.set('/', () => ({ headers: { 'content-type': 'text/plain' }, body }));
    const sequences = Array.from({ length: times(2, 3) }).reduce<string[][]>(
      (shorter) => shorter.flatMap((steps) => all.map((step) => [...steps, step])),
      [[]],
    );
    for (const steps of sequences) {
      const proven = await client.fetch(server.origin);
      expect(provenBy(proven)?.body).toBe(true);
      expect(await see({ response: proven }, steps)).toEqual(
        await see({ response: new Response(body, { headers: { 'content-type': 'text/plain' } }) }, steps),
      );
    }
  });

  it('can be cloned again after a server has replaced the global Response', async () => {
    server.routes.set('/', () => ({ body: 'right' }));
    const response = await client.fetch(server.origin);
    createAdaptorServer({ fetch: () => new Response() }); // which replaces it
    for (const one of [response, await client.fetch(server.origin)]) {
      const copy = one.clone().clone();
      expect([await copy.text(), provenBy(copy)?.body]).toEqual(['right', true]);
    }
  });

  it('lets a program replace its clone()', async () => {
    server.routes.set('/', () => ({ body: 'right' }));
    const response = await client.fetch(server.origin);
    response.clone = () => response;
    expect(response.clone()).toBe(response);
  });

  it('has a body that is checked however it is read', async () => {
    server.routes.set('/', () => ({ body: 'right' }));
    server.hands = (answer) => ({ ...answer, body: Buffer.from('wrong') });
    // The methods of the platform, called past those of the response.
    const { text, arrayBuffer, blob } = Response.prototype;
    const readers: readonly ((this: Response) => Promise<unknown>)[] = [text, arrayBuffer, blob];
    for (const read of readers)
      await expect(read.call(await client.fetch(server.origin))).rejects.toEqual(unproven);
  });
});

describe('without an incremental SHA-256, a body', () => {
  const whole = askingClient({ crypto: webCrypto, maxBufferedBytes: 1000 });

  it('is withheld until its end', async () => {
    server.routes.set('/', () => ({ body: 'x'.repeat(1000) }));
    expect(webCrypto.createSha256()).toBeNull();
    expect(await (await whole.fetch(server.origin)).text()).toBe('x'.repeat(1000));
    server.hands = (answer) => ({ ...answer, body: Buffer.from('y'.repeat(1000)) });
    const response = await whole.fetch(server.origin);
    const reader = (response.body as ReadableStream).getReader();
    await expect(reader.read()).rejects.toEqual(unproven);
  });

  it('fails beyond maxBufferedBytes, and says so', async () => {
    server.routes.set('/', () => ({ body: 'x'.repeat(1001) }));
    const response = await whole.fetch(server.origin);
    await expect(response.text()).rejects.toThrow(/larger than 1000 bytes \(maxBufferedBytes\)/);
  });
});

describe('a body that the target has not signed', () => {
  async function* events() {
    yield Buffer.from('data: 1\n\n');
  }
  beforeEach(() => {
    server.routes.set('/', () => ({ headers: { 'content-type': 'text/event-stream' }, body: events() }));
  });

  it.each(['auto', 'required'] as const)(
    'is not read with answers %s, unless the call allows it',
    async (answers) => {
      const response = await client.fetch(server.origin, { answers });
      expect(response.status).toBe(200);
      expect(provenBy(response)).toMatchObject({ body: false });
      await expect(response.text()).rejects.toEqual(unproven);
      const allowed = await client.fetch(server.origin, { answers, [allowUnprovenBody]: true });
      expect(provenBy(allowed)).toMatchObject({ body: false });
      expect(await allowed.text()).toBe('data: 1\n\n');
    },
  );

  it('leaves all other bodies as they are', async () => {
    server.routes.set('/', () => ({ body: 'right' }));
    server.hands = (answer) => ({ ...answer, body: Buffer.from('wrong') });
    const response = await client.fetch(server.origin, { [allowUnprovenBody]: true });
    await expect(response.text()).rejects.toEqual(unproven);
  });

  it('a value that is not true or false is a TypeError', async () => {
    const call = client.fetch(server.origin, { [allowUnprovenBody]: 1 as never });
    await expect(call).rejects.toThrow(TypeError);
    expect(server.seen).toEqual([]);
  });
});

describe('an answer without a body', () => {
  it.each([204, 205])('%i is proven', async (status) => {
    server.routes.set('/', () => ({ status }));
    const response = await client.fetch(server.origin);
    expect([response.status, await response.text(), provenBy(response)?.body]).toEqual([status, '', true]);
  });

  it('to HEAD is proven, with the headers that a GET has', async () => {
    server.routes.set('/', () => ({ headers: { etag: '"v1"' }, body: '' }));
    const response = await client.fetch(server.origin, { method: 'HEAD' });
    expect([response.status, await response.text()]).toEqual([200, '']);
    expect(provenBy(response)).toMatchObject({ body: true });
    expect(provenBy(response)?.headers.get('etag')).toBe('"v1"');
  });

  it('that is empty is proven to be empty', async () => {
    server.routes.set('/', () => ({}));
    expect(await (await client.fetch(server.origin)).text()).toBe('');
  });
});
