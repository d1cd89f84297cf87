import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readKv } from '../../src/storage/kv';

const AT_MOST = 1000;

/** A namespace with one value, which counts what is read of a stream. */
function namespaceOf(value: string, chunk = 300) {
  const counts = { read: 0, isCancelled: false };
  const get = async (_key: string, type?: string) => {
    if (type !== 'stream') return value;
    let from = 0;
    return new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          if (from >= value.length) return controller.close();
          const part = new TextEncoder().encode(value.slice(from, from + chunk));
          from += chunk;
          counts.read += part.length;
          controller.enqueue(part);
        },
        cancel() {
          counts.isCancelled = true;
        },
      },
      { highWaterMark: 0 },
    );
  };
  const unused = () => Promise.reject(new Error('It is only read.'));
  const namespace = { get, getWithMetadata: unused, put: unused, delete: unused };
  return { namespace: namespace as never, counts };
}

describe('a page in KV', () => {
  const page = new Uint8Array(randomBytes(AT_MOST));
  const base64 = `base64:${Buffer.from(page).toString('base64')}`;

  it.each([
    ['text', 'é'.repeat(AT_MOST / 2), 'é'.repeat(AT_MOST / 2)],
    ['bytes, as unstorage writes them', base64, page],
  ])('is read whole up to its limit: %s', async (_, value, expected) => {
    const { namespace } = namespaceOf(value, 7);
    const read = await readKv(namespace, 'page', AT_MOST);
    expect(typeof read === 'string' ? read : new Uint8Array(read as Uint8Array)).toEqual(expected);
  });

  it('counts as missing if it is larger, and no more of it is read', async () => {
    const { namespace, counts } = namespaceOf('x'.repeat(100_000));
    expect(await readKv(namespace, 'page', AT_MOST)).toBeNull();
    expect(counts.read).toBeLessThanOrEqual(2 * AT_MOST);
    expect(counts.isCancelled).toBe(true);
  });

  it('counts as missing if it is larger and a namespace returns text only', async () => {
    const get = async () => 'x'.repeat(100_000);
    const namespace = { get, getWithMetadata: get, put: get, delete: get };
    expect(await readKv(namespace as never, 'page', AT_MOST)).toBeNull();
  });

  it('has no limit if none is given, as for the head', async () => {
    expect(await readKv(namespaceOf('x'.repeat(100_000)).namespace, 'head')).toHaveLength(100_000);
  });
});
