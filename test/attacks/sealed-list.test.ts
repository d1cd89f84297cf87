import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fromBase64Url, toUtf8 } from '../../src/core/encoding';
import { SealedList } from '../../src/trust/list/sealed-list';
import { vectors } from '../support/vectors';
import { sealedList } from '../workers/workerd';

/** Attacks on a list out of a store of which a stranger's requests cause the reads. */

const { controller, target } = vectors.devices;
const maxStaleSeconds = 60;

let nowMs: number;
let read: () => Promise<Uint8Array | null>;
let reads: number;
let list: SealedList;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  nowMs = 1000;
  reads = 0;
  list = new SealedList({
    owners: [fromBase64Url(target.publicKey) as Uint8Array],
    maxStaleSeconds,
    now: () => nowMs,
    read: () => {
      reads++;
      return read();
    },
  });
});
afterEach(() => vi.useRealTimers());

const gives = async (changes: Parameters<typeof sealedList>[0]) => {
  const bytes = toUtf8(await sealedList(changes));
  read = async () => bytes;
};
/** As a read is that a Worker has cancelled with its request, or one of a store that hangs. */
const hangs = () => {
  read = () => new Promise(() => {});
};
const trusts = async () => (await list.current()).find(controller.deviceId) !== undefined;

describe('a stranger who begins reads and goes away', () => {
  it('does not delay a revocation by more than a second', async () => {
    await gives({ revision: 1 });
    expect(await trusts()).toBe(true);
    await gives({ revision: 2, devices: [] });
    const honest = read;
    nowMs += 10_000;
    hangs();
    void list.current();
    read = honest;
    nowMs += 1000;
    expect(await trusts()).toBe(false);
  });

  it('causes at most one read a second', async () => {
    await gives({ revision: 1 });
    await list.current();
    nowMs += 10_000;
    reads = 0;
    hangs();
    for (let i = 0; i < 1000; i++, nowMs += 2) void list.current();
    await new Promise(setImmediate);
    expect(reads).toBe(2);
  });
});

describe('a store that hangs', () => {
  it('is like one that cannot be read: the existing list counts, and no request gets 503', async () => {
    await gives({ revision: 1 });
    expect(await trusts()).toBe(true);
    hangs();
    nowMs += 10_000;
    const waiting = trusts();
    await vi.advanceTimersByTimeAsync(5000);
    expect(await waiting).toBe(true);

    nowMs += maxStaleSeconds * 1000;
    const refused = expect(list.current()).rejects.toMatchObject({
      code: 'allow_list_unavailable',
      message: expect.stringContaining('The store of the allow list does not respond.'),
    });
    await vi.advanceTimersByTimeAsync(5000);
    await refused;
  });
});
