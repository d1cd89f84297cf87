import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InMemoryNonceStore } from '@authmesh/sdk/core';
import { StorageNonceStore } from '@authmesh/sdk/storage';
import { createStorage, prefixStorage } from 'unstorage';
import fsDriver from 'unstorage/drivers/fs';
import lruDriver from 'unstorage/drivers/lru-cache';
import memoryDriver from 'unstorage/drivers/memory';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { callsOf } from '../support/calls-of';
import { randomNonce } from '../support/nonce-store';
import { nonceStoreContract } from '../support/nonce-store-contract';
import { isPacked } from '../support/packed';

nonceStoreContract('InMemoryNonceStore', async () => ({ store: new InMemoryNonceStore() }));

nonceStoreContract('StorageNonceStore over memory', async () => ({
  store: new StorageNonceStore(createStorage({ driver: memoryDriver() })),
}));

nonceStoreContract('StorageNonceStore over files', async () => {
  const storage = createStorage({ driver: fsDriver({ base: await temporaryFolder() }) });
  return { store: new StorageNonceStore(storage), reopen: () => new StorageNonceStore(storage) };
});

async function temporaryFolder(): Promise<string> {
  const base = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  onTestFinished(() => rm(base, { recursive: true, maxRetries: 20 }));
  return base;
}

/** Shows nothing that was written, as Cloudflare KV does for a while. */
function forgetful(): ReturnType<typeof memoryDriver> {
  return { ...memoryDriver(), getItemRaw: () => null };
}

describe('StorageNonceStore', () => {
  const DEVICE = 'am_AAAAAAAAAAAAAAAA';

  it('remembers what the process before it has seen', async () => {
    const driver = memoryDriver();
    const nonce = randomNonce();
    const restart = () => new StorageNonceStore(createStorage({ driver }));
    expect(await restart().claim(DEVICE, nonce, Date.now() + 60_000)).toBe(true);
    expect(await restart().claim(DEVICE, nonce, Date.now() + 60_000)).toBe(false);
  });

  it('removes what has ended', async () => {
    const storage = createStorage({ driver: memoryDriver() });
    const store = new StorageNonceStore(storage);
    for (let i = 0; i < 20; i++) await store.claim(DEVICE, randomNonce(), Date.now() - 1);
    expect((await storage.getKeys()).length).toBeLessThan(3);
  });

  it('refuses if the storage fails or holds what is not its own', async () => {
    const driver = memoryDriver();
    const storage = createStorage({ driver });
    const store = new StorageNonceStore(storage);
    const nonce = randomNonce();
    await store.claim(DEVICE, nonce, Date.now() + 60_000);
    for (const rubbish of ['rubbish', '', ' 1', '-1']) {
      for (const key of await storage.getKeys()) await storage.setItemRaw(key, rubbish);
      const restarted = new StorageNonceStore(createStorage({ driver }));
      expect(await restarted.claim(DEVICE, nonce, Date.now() + 60_000)).toBe(false);
    }
    driver.setItemRaw = () => Promise.reject(new Error('full'));
    await expect(store.claim(DEVICE, randomNonce(), Date.now() + 60_000)).rejects.toMatchObject({
      code: 'nonce_store_unavailable',
    });
  });

  it.each([
    ['files', async () => createStorage({ driver: fsDriver({ base: await temporaryFolder() }) })],
    ['one that shows an earlier state', async () => createStorage({ driver: forgetful() })],
  ])('a replay at the same moment to two routes with stores of their own, over %s', async (_, make) => {
    const storage = await make();
    const stores = [new StorageNonceStore(storage), new StorageNonceStore(storage)];
    const nonce = randomNonce();
    const claims = stores.map((store) => store.claim(DEVICE, nonce, Date.now() + 60_000));
    expect((await Promise.all(claims)).sort()).toEqual([false, true]);
  });

  it('a replay over a store that still shows an earlier state', async () => {
    const store = new StorageNonceStore(createStorage({ driver: forgetful() }));
    const nonce = randomNonce();
    expect(await store.claim(DEVICE, nonce, Date.now() + 60_000)).toBe(true);
    expect(await store.claim(DEVICE, nonce, Date.now() + 60_000)).toBe(false);
  });

  it('a replay over a store that throws away more than asked for', async () => {
    const store = new StorageNonceStore(createStorage({ driver: lruDriver({ max: 10 }) }));
    const nonce = randomNonce();
    expect(await store.claim(DEVICE, nonce, Date.now() + 60_000)).toBe(true);
    for (let i = 0; i < 50; i++) await store.claim(DEVICE, randomNonce(), Date.now() + 60_000);
    expect(await store.claim(DEVICE, nonce, Date.now() + 60_000)).toBe(false);
  });

  it('a replay after the clock was set back, into a time whose nonces were removed', async () => {
    const now = vi.spyOn(Date, 'now');
    onTestFinished(() => now.mockRestore());
    const store = new StorageNonceStore(createStorage({ driver: memoryDriver() }));
    const start = 1_764_000_000_000;
    const claimAt = (ms: number, nonce = randomNonce()) => {
      now.mockReturnValue(start + ms);
      return store.claim(DEVICE, nonce, start + ms + 60_000);
    };
    const nonce = randomNonce();
    expect(await claimAt(0, nonce)).toBe(true);
    for (const ahead of [60_001, 60_002, 60_003]) expect(await claimAt(ahead)).toBe(true);
    expect(await claimAt(60_003 - 10_000)).toBe(true); // as much as each is kept longer for
    for (const back of [15_000, 1000, 30_000]) {
      await expect(claimAt(back, nonce)).rejects.toMatchObject({
        code: 'nonce_store_unavailable',
        message: expect.stringContaining(
          `The clock was set back to a time whose nonces are forgotten. That time ends at ${new Date(start + 120_003).toISOString()}. Wait until then, or restart`,
        ),
      });
    }
    expect(await claimAt(120_004)).toBe(true);
  });

  it.each([
    ['memory', memoryDriver()],
    ['lru-cache', lruDriver({})],
  ])('a replay after a restart, over the driver %s that forgets with the process', async (_, driver) => {
    const before = Math.floor(Date.now() / 1000);
    expect(new StorageNonceStore(createStorage({ driver })).startedAt).toBeGreaterThanOrEqual(before);
    expect(new StorageNonceStore(createStorage({ driver: fsDriver({ base: tmpdir() }) })).startedAt).toBe(
      undefined,
    );
  });

  it('a replay after a restart, over a prefix whose driver forgets', () => {
    const before = Math.floor(Date.now() / 1000);
    const storage = createStorage({ driver: fsDriver({ base: tmpdir() }) });
    expect(new StorageNonceStore(prefixStorage(storage, 'mine')).startedAt).toBeUndefined();
    storage.mount('mine', memoryDriver());
    expect(new StorageNonceStore(prefixStorage(storage, 'mine')).startedAt).toBeGreaterThanOrEqual(before);
  });

  it('accepts if what has ended cannot be removed', async () => {
    const driver = memoryDriver();
    driver.removeItem = () => Promise.reject(new Error('read-only'));
    const store = new StorageNonceStore(createStorage({ driver }));
    for (let i = 0; i < 3; i++) {
      expect(await store.claim(DEVICE, randomNonce(), Date.now() - 1)).toBe(true);
    }
  });

  // The packed module is loaded once, and has said it already.
  it.skipIf(isPacked)('says once what it cannot do', async () => {
    vi.resetModules();
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const { StorageNonceStore: Fresh } = await import('@authmesh/sdk/storage');
    new Fresh(createStorage());
    new Fresh(createStorage());
    expect(callsOf(warned)).toEqual([
      [expect.stringContaining('StorageNonceStore detects replays within one process only.')],
    ]);
    warned.mockRestore();
  });
});
