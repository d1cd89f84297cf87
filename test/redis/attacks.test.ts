import { setTimeout as sleep } from 'node:timers/promises';
import { RedisNonceStore } from '@authmesh/sdk/redis';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { opened, randomNonce } from '../support/nonce-store';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';

const DEVICE = 'am_AAAAAAAAAAAAAAAA';
const MARKER = 'amesh:nonce:since:0';
const claim = (store: RedisNonceStore, nonce = randomNonce()) =>
  store.claim(DEVICE, nonce, Date.now() + 60_000);
const nowSeconds = () => Math.floor(Date.now() / 1000);

describeWithRedis('somebody who can write to the Redis of the nonces', () => {
  let redis: RedisServer;
  let admin: Redis;
  let stores: RedisNonceStore[];
  beforeEach(async () => {
    stores = [];
    redis = await startRedis();
    admin = new Redis(redis.url);
    admin.on('error', () => {});
  });
  afterEach(async () => {
    await Promise.all(stores.map((store) => store.close()));
    admin.disconnect();
    await redis.stop();
  });

  function open(url = redis.url): RedisNonceStore {
    const store = new RedisNonceStore(url);
    stores.push(store);
    return store;
  }

  /** Until the store has asked Redis who it is twice more: one question may be on its way. */
  async function checked(rounds = 2): Promise<void> {
    const before = await markerReads();
    for (const endsAt = Date.now() + 10_000; (await markerReads()) < before + rounds; await sleep(20)) {
      if (Date.now() > endsAt) throw new Error('Nobody asks Redis who it is any more.');
    }
  }

  async function markerReads(): Promise<number> {
    return Number(/^cmdstat_getrange:calls=(\d+)/m.exec(await admin.info('commandstats'))?.[1] ?? 0);
  }

  async function runOf(): Promise<string> {
    return (await admin.get(MARKER))?.split(' ')[0] as string;
  }

  it.each([
    ['beyond all dates', String(Number.MAX_SAFE_INTEGER)],
    ['an hour ahead', String(nowSeconds() + 3600)],
  ])('a marker that names a time %s ends no process and locks nobody out', async (_, since) => {
    const store = await opened(open());
    await admin.set(MARKER, `${await runOf()} ${since}`);
    await checked();
    await opened(store);
    expect(store.startedAt).toBeLessThanOrEqual(nowSeconds());
    const later = await opened(open());
    expect(later.startedAt).toBeLessThanOrEqual(nowSeconds());
    await checked(1);
    expect(await claim(later)).toBe(true);
  });

  it('a marker of many megabytes is not fetched', async () => {
    const store = await opened(open());
    await admin.set(MARKER, Buffer.alloc(30_000_000, 'x'));
    const before = await sentBytes();
    await checked();
    expect((await sentBytes()) - before).toBeLessThan(1_000_000);
    await opened(store);
  });

  async function sentBytes(): Promise<number> {
    return Number(/^total_net_output_bytes:(\d+)/m.exec(await admin.info('stats'))?.[1]);
  }

  it('a marker of another type is replaced', async () => {
    const store = await opened(open());
    await admin.del(MARKER);
    await admin.lpush(MARKER, 'a list');
    await checked();
    await opened(store);
    expect(await admin.type(MARKER)).toBe('string');
  });
});

describeWithRedis('a Redis that has forgotten, and says the same run id', () => {
  it('because a policy of eviction was on for a moment: says since when it remembers', async () => {
    const redis = await startRedis({ args: ['--maxmemory', '3mb'] });
    const store = await opened(new RedisNonceStore({ url: redis.url, timeoutMs: 5000 }));
    const admin = new Redis(redis.url);
    const claimedAt = nowSeconds();
    expect(await claim(store)).toBe(true);
    const marker = (await admin.get(MARKER)) as string;
    // All in one packet, so that nobody asks for the policy in between.
    const fillers = Array.from({ length: 40 }, (_, i) => `filler${i}`);
    const evicting = admin.pipeline().config('SET', 'maxmemory-policy', 'allkeys-random');
    for (const key of fillers) evicting.set(key, 'x'.repeat(100_000), 'PX', 60_000);
    evicting.del(...fillers).set(MARKER, marker); // which may have stayed as well as gone
    evicting.config('SET', 'maxmemory-policy', 'noeviction');
    await evicting.exec();
    expect(Number(/^evicted_keys:(\d+)/m.exec(await admin.info('stats'))?.[1])).toBeGreaterThan(0);
    await expectLater(store, claimedAt);
    await store.close();
    admin.disconnect();
    await redis.stop();
  });

  it('because it was made a replica of one that knew less, and master again: says since when it remembers', async () => {
    const [first, second] = await Promise.all([startReplicating(), startReplicating()]);
    const store = await opened(new RedisNonceStore({ url: first.url, timeoutMs: 5000 }));
    const [old, promoted] = [new Redis(first.url), new Redis(second.url)];
    await promoted.replicaof('127.0.0.1', first.port);
    await synced(promoted);
    await promoted.replicaof('NO', 'ONE');
    const nonce = randomNonce();
    await opened(store);
    const claimedAt = nowSeconds();
    expect(await claim(store, nonce)).toBe(true); // the other one never hears of it
    await old.replicaof('127.0.0.1', second.port);
    await synced(old);
    await old.replicaof('NO', 'ONE');
    await opened(store);
    if (await claim(store, nonce)) await expectLater(store, claimedAt);
    await store.close();
    old.disconnect();
    promoted.disconnect();
    await Promise.all([first.stop(), second.stop()]);
  });

  const startReplicating = () => startRedis({ args: ['--repl-diskless-sync-delay', '0'] });

  async function synced(replica: Redis): Promise<void> {
    for (
      const endsAt = Date.now() + 20_000;
      !/^master_link_status:up/m.test(await replica.info('replication'));
    ) {
      if (Date.now() > endsAt) throw new Error('The replica is not in sync.');
      await sleep(20);
    }
  }

  async function expectLater(store: RedisNonceStore, than: number): Promise<void> {
    for (const endsAt = Date.now() + 5000; (store.startedAt ?? 0) <= than && Date.now() < endsAt; )
      await sleep(10);
    await opened(store);
    expect(store.startedAt).toBeGreaterThan(than);
  }
});
