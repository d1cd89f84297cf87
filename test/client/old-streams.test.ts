import { EventEmitter, once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import FormDataOfPackage from 'form-data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toBodyStream } from '../../src/core/sign/outgoing/body';
import { type Listening, listen } from '../support/listen';
import { usePair } from '../support/use-pair';
import { digestOf } from '../support/verdict';

const machines = usePair();

const CHUNKS = 100;

/** A Node stream of the old kind. It gives out chunks at once, until somebody pauses it. */
class OldStream extends EventEmitter {
  given = 0;
  isPaused = true;
  isDestroyed = false;
  pipe() {}
  pause() {
    this.isPaused = true;
  }
  resume() {
    this.isPaused = false;
    while (!this.isPaused && this.given < CHUNKS) {
      this.given++;
      this.emit('data', Buffer.alloc(1000));
    }
    if (this.given === CHUNKS) this.emit('end');
  }
  destroy() {
    this.isDestroyed = true;
  }
}

const toStream = (stream: OldStream) => toBodyStream(stream as never) as ReadableStream<Uint8Array>;

describe('an old-style Node stream', () => {
  it('arrives whole, and no faster than it is read', async () => {
    const old = new OldStream();
    const reader = toStream(old).getReader();
    let size = 0;
    for (let count = 1; ; count++) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      expect(old.given).toBeLessThanOrEqual(count + 2);
    }
    expect(size).toBe(CHUNKS * 1000);
  });

  it.each<[string, (old: OldStream) => void]>([
    ['gives out a chunk', (old) => old.emit('data', Buffer.alloc(1))],
    ['ends', (old) => old.emit('end')],
    ['fails', (old) => old.emit('error', new Error('It broke.'))],
  ])('may do anything once nobody reads it any more: %s', async (_what, then) => {
    const old = new OldStream();
    await toStream(old).cancel();
    expect(old.isDestroyed).toBe(true);
    expect(() => then(old)).not.toThrow();
  });

  it('ends once', async () => {
    const old = new OldStream();
    const reading = new Response(toStream(old)).arrayBuffer();
    await reading;
    expect(() => old.emit('end')).not.toThrow();
    const broken = new OldStream();
    const failing = toStream(broken).getReader();
    broken.emit('error', new Error('It broke.'));
    await expect(failing.read()).rejects.toThrow('It broke.');
    expect(() => broken.emit('end')).not.toThrow();
  });
});

describe('a form of the package form-data with a file', () => {
  const BYTES = 1_000_000;
  let root: string;
  let server: Listening;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    await writeFile(join(root, 'file'), Buffer.alloc(BYTES));
    const verify = machines.target.verify({ maxBodyBytes: 2 * BYTES });
    server = await listen(
      createServer((request, response) => verify(request, response, () => void response.end('ok'))),
    );
  });
  afterAll(async () => {
    await server.close();
    await rm(root, { recursive: true, maxRetries: 20 });
  });

  /** A form with a boundary that its digest knows. */
  function formOf() {
    const file = createReadStream(join(root, 'file'));
    const form = new FormDataOfPackage();
    form.append('file', file);
    return { form: form as unknown as BodyInit, closed: once(file, 'close'), boundary: form.getBoundary() };
  }

  it('that is too large, or whose call was aborted, ends that call and nothing else', async () => {
    const large = formOf();
    const amesh = machines.controllerWith({ maxBufferedBytes: 100_000 });
    const tooLarge = amesh.fetch(server.origin, { method: 'POST', body: large.form });
    await expect(tooLarge).rejects.toMatchObject({ code: 'payload_too_large' });
    const ending = new AbortController();
    const aborted = formOf();
    const call = machines.controller.fetch(server.origin, {
      method: 'POST',
      body: aborted.form,
      signal: ending.signal,
    });
    ending.abort();
    await expect(call).rejects.toMatchObject({ name: 'AbortError' });
    // What it still gives out arrives nowhere. An error in one of its listeners would end the process.
    await Promise.all([large.closed, aborted.closed]);
  });

  it('is sent while it is read, if its digest is known', async () => {
    const { form, boundary } = formOf();
    const head = `Content-Disposition: form-data; name="file"; filename="file"\r\nContent-Type: application/octet-stream\r\n\r\n`;
    const bytes = Buffer.concat([
      Buffer.from(`--${boundary}\r\n${head}`),
      Buffer.alloc(BYTES),
      Buffer.from(`\r\n--${boundary}--\r\n`),
    ]);
    const headers = {
      'content-digest': digestOf(bytes),
      'content-type': `multipart/form-data; boundary=${boundary}`,
    };
    const init = { method: 'POST', body: form, headers, duplex: 'half' } as RequestInit;
    expect((await machines.controller.fetch(server.origin, init)).status).toBe(200);
  });
});
