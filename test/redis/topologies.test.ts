import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisNonceStore } from '@authmesh/sdk/redis';
import { Cluster } from 'ioredis';
import { Cluster as Cluster6 } from 'ioredis6';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floodOfDelegates } from '../support/delegate-flood';
import { opened, randomNonce } from '../support/nonce-store';
import { nonceStoreContract } from '../support/nonce-store-contract';
import { describeWithRedis } from '../support/redis';
import { type RedisCluster, startRedisCluster, startRedisSentinel } from '../support/redis-cluster';
import { useRedisNonceStores } from '../support/use-redis-nonce-stores';

const open = useRedisNonceStores();

const randomDevice = () => `am_${randomBytes(12).toString('base64url')}`;

/** What was claimed before has to be refused afterwards, by its time where its nonce is forgotten. */
async function expectNoReplay(
  store: RedisNonceStore,
  claims: [string, string][],
  createdAt: number,
): Promise<void> {
  let forgotten = 0;
  for (const [device, nonce] of claims) {
    if ((await store.claim(device, nonce, Date.now() + 60_000)) === true) forgotten++;
  }
  if (forgotten > 0) expect(store.startedAt).toBeGreaterThan(createdAt);
}

async function claimMany(store: RedisNonceStore, count: number): Promise<[string, string][]> {
  const claims = Array.from({ length: count }, (): [string, string] => [randomDevice(), randomNonce()]);
  await Promise.all(claims.map(([device, nonce]) => store.claim(device, nonce, Date.now() + 60_000)));
  return claims;
}

/** Waits until a device of any slot is let in. */
async function openedForAll(store: RedisNonceStore): Promise<void> {
  for (const endsAt = Date.now() + 30_000; ; await sleep(20)) {
    const answers = await Promise.allSettled(
      Array.from({ length: 30 }, () => store.claim(randomDevice(), randomNonce(), Date.now() + 1000)),
    );
    const failed = answers.find((answer) => answer.status === 'rejected');
    if (failed === undefined) return;
    if (Date.now() > endsAt) throw failed.reason;
  }
}

// Each waits for servers of its own. Those of the three run one after another, beside the failovers.
describeWithRedis.concurrent('RedisNonceStore over a cluster of three', () => {
  describe.sequential('that all share', () => {
    let cluster: RedisCluster;
    beforeAll(async () => {
      cluster = await startRedisCluster();
    });
    afterAll(() => cluster?.stop());
    const seeds = () => cluster.masters.map(({ url }) => url);

    nonceStoreContract('RedisNonceStore over a cluster', async () => ({
      store: await opened(open({ cluster: seeds(), timeoutMs: 10_000 })),
      reopen: () => open({ cluster: seeds().slice(0, 1), timeoutMs: 10_000 }),
    }));

    it.each([
      ['ioredis 5', Cluster],
      ['ioredis 6', Cluster6],
    ])('works with a client of %s', async (_, Class) => {
      const client = new Class(seeds());
      const store = await opened(open({ client, timeoutMs: 10_000 }));
      expect(await claimMany(store, 300)).toHaveLength(300);
      client.disconnect();
    });

    it('refuses a flood of delegates, and still serves their device and the delegates of others', async () => {
      await floodOfDelegates(
        [await opened(open({ cluster: seeds(), timeoutMs: 10_000, maxDelegateNonces: 50 }))],
        50,
      );
    });

    it('says what to do if it got only one node as if it were all', async () => {
      const store = open(seeds()[0]);
      await store.claim(randomDevice(), randomNonce(), 0).catch(() => {});
      await expect(store.claim(randomDevice(), randomNonce(), 0)).rejects.toMatchObject({
        code: 'nonce_store_unavailable',
        message: expect.stringContaining(
          'This Redis is one node of a cluster. Use new RedisNonceStore({ cluster:',
        ),
      });
    });

    it('notices that one of three has lost its memory', async () => {
      const store = await opened(open({ cluster: seeds(), timeoutMs: 10_000 }));
      const claims = await claimMany(store, 300);
      const createdAt = Math.floor(Date.now() / 1000);
      await cluster.masters[1]?.restart();
      await openedForAll(store);
      await expectNoReplay(store, claims, createdAt);
      expect(store.startedAt).toBeGreaterThan(createdAt);
    });
  });
});

describeWithRedis.concurrent('RedisNonceStore in a failover', () => {
  it('of a cluster remembers since the replica has taken over', async () => {
    const cluster = await startRedisCluster({ replica: true });
    const store = await opened(open({ cluster: cluster.masters.map(({ url }) => url), timeoutMs: 10_000 }));
    const claims = await claimMany(store, 300);
    const createdAt = Math.floor(Date.now() / 1000);
    await cluster.masters[0]?.stop();
    await openedForAll(store);
    await expectNoReplay(store, claims, createdAt);
    expect(store.startedAt).toBeGreaterThan(createdAt);
    await cluster.stop();
  });

  it('of a master with a sentinel remembers since the replica has taken over', async () => {
    const { sentinelPort, name, master, stop } = await startRedisSentinel();
    const redis = { sentinels: [{ host: '127.0.0.1', port: sentinelPort }], name };
    const store = await opened(open({ redis, timeoutMs: 10_000 }));
    const claims = await claimMany(store, 300);
    const createdAt = Math.floor(Date.now() / 1000);
    await master.stop();
    await opened(store, 30_000);
    await expectNoReplay(store, claims, createdAt);
    expect(store.startedAt).toBeGreaterThan(createdAt);
    await stop();
  });
});
