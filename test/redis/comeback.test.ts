import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RedisNonceStore, type RedisNonceStoreOptions } from '@authmesh/sdk/redis';
import { Redis } from 'ioredis';
import { expect, it, type TestContext } from 'vitest';
import { hasHaproxy, startHaproxy } from '../support/haproxy';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { startRedisCluster, startRedisSentinel } from '../support/redis-cluster';
import { type Replayer, startReplayer } from '../support/replayer';
import { startTcpSwitch } from '../support/tcp-switch';

type Later = TestContext['onTestFinished'];

/** Waits until a Redis has got new claims, so that it is the one that is used. */
async function used({ url }: RedisServer): Promise<void> {
  const admin = new Redis(url);
  try {
    const before = await admin.dbsize();
    for (const endsAt = Date.now() + 120_000; (await admin.dbsize()) < before + 20; await sleep(100)) {
      if (Date.now() > endsAt) throw new Error('Nobody uses that Redis.');
    }
  } finally {
    admin.disconnect();
  }
}

/** Instances behind one address, and somebody who sends again all that they let in. */
interface Instances {
  readonly replayer: Replayer;
  /** One more that has seen nothing of what was before. */
  start(): RedisNonceStore;
  /** Each lets somebody in again, and none has let in anything twice. */
  expectExact(): Promise<void>;
}

async function startInstances(later: Later, options: RedisNonceStoreOptions, count = 4): Promise<Instances> {
  const replayer = startReplayer();
  const stores: RedisNonceStore[] = [];
  later(async () => {
    await replayer.stop();
    await Promise.all(stores.map((store) => store.close()));
  });
  const instances: Instances = {
    replayer,
    start() {
      const store = new RedisNonceStore({ timeoutMs: 1000, ...options });
      stores.push(store);
      replayer.add(store);
      return store;
    },
    async expectExact() {
      await replayer.recovered();
      expect(await replayer.secondOnes()).toBe(0);
    },
  };
  for (let i = 0; i < count; i++) instances.start();
  await instances.expectExact();
  return instances;
}

async function startTwo(later: Later): Promise<[RedisServer, RedisServer]> {
  const both = [await startRedis(), await startRedis()] as [RedisServer, RedisServer];
  later(async () => void (await Promise.all(both.map((each) => each.stop()))));
  return both;
}

const SWITCHES = [
  ['that cuts what is open', 'cut'],
  ['that leaves open what is open', 'stay'],
] as const;

describeWithRedis.concurrent(
  'one address that leads to another Redis, and back',
  { timeout: 240_000 },
  () => {
    // The longest first.
    it('with strictRestart', async ({ onTestFinished }) => {
      const [a, b] = await startTwo(onTestFinished);
      const address = await startTcpSwitch(a.port);
      onTestFinished(() => address.close());
      const url = `redis://127.0.0.1:${address.port}`;
      const strict = { url, strictRestart: true, clockSkewSeconds: 1 };
      const instances = await startInstances(onTestFinished, strict, 2);
      for (const { port } of [b, a]) {
        address.leadTo(port, 'cut');
        await sleep(3000);
        expect(await instances.replayer.secondOnes()).toBe(0);
      }
      await instances.expectExact();
    });

    it.for(SWITCHES)('a switch %s: there, back, and there again', async ([, open], { onTestFinished }) => {
      const [a, b] = await startTwo(onTestFinished);
      const address = await startTcpSwitch(a.port);
      onTestFinished(() => address.close());
      const instances = await startInstances(onTestFinished, { url: `redis://127.0.0.1:${address.port}` });
      for (const next of [b, a, b]) {
        address.leadTo(next.port, open);
        await used(next);
        await instances.expectExact();
        instances.start(); // which has seen nothing
        await instances.expectExact();
      }
      expect(instances.replayer.recorded).toBeGreaterThan(50);
    });

    it.for(SWITCHES)(
      'a switch %s: back within a second, many times',
      async ([, open], { onTestFinished }) => {
        const [a, b] = await startTwo(onTestFinished);
        const address = await startTcpSwitch(a.port);
        onTestFinished(() => address.close());
        const instances = await startInstances(onTestFinished, { url: `redis://127.0.0.1:${address.port}` });
        for (const next of [b, a]) {
          address.leadTo(next.port, open); // so that each knows both
          await used(next);
          await instances.expectExact();
        }
        for (const ms of [50, 200, 400, 700, 950]) {
          address.leadTo(b.port, open);
          await sleep(ms);
          address.leadTo(a.port, open);
          await sleep(ms / 2);
        }
        instances.start();
        await instances.expectExact();
      },
    );

    it.for([
      ['for a moment', [900]],
      ['for long', [3500]],
    ] as const)(
      'a Redis that sleeps (SIGSTOP) while another one is there, %s',
      async ([, pauses], { onTestFinished }) => {
        const [a, b] = await startTwo(onTestFinished);
        const address = await startTcpSwitch(a.port);
        onTestFinished(() => address.close());
        const instances = await startInstances(onTestFinished, { url: `redis://127.0.0.1:${address.port}` });
        for (const ms of pauses) {
          a.pause();
          address.leadTo(b.port, 'stay');
          await sleep(ms);
          a.resume(); // and does what was on its way to it
          address.leadTo(a.port, 'cut');
          instances.start();
          await instances.expectExact();
        }
      },
    );

    it.for([200, 900, 4500])('SWAPDB, and back after %i ms', async (ms, { onTestFinished }) => {
      const redis = await startRedis();
      onTestFinished(() => redis.stop());
      const admin = new Redis(redis.url);
      onTestFinished(() => admin.disconnect());
      const instances = await startInstances(onTestFinished, { url: redis.url });
      for (let i = 0; i < 2; i++) {
        await admin.swapdb(0, 1);
        await sleep(ms);
        await admin.swapdb(0, 1);
        instances.start();
        await instances.expectExact();
      }
    });

    it('emptied by FLUSHALL: not even requests right after it are accepted again', async ({
      onTestFinished,
    }) => {
      const redis = await startRedis();
      onTestFinished(() => redis.stop());
      const admin = new Redis(redis.url);
      onTestFinished(() => admin.disconnect());
      const instances = await startInstances(onTestFinished, { url: redis.url });
      for (let i = 0; i < 2; i++) {
        await admin.flushall();
        expect(await instances.replayer.secondOnes()).toBe(0);
        await instances.expectExact();
      }
    });

    it('a Redis that does not say who it is, after a switch', async ({ onTestFinished }) => {
      const both = await startTwo(onTestFinished);
      for (const { url } of both) {
        const admin = new Redis(url);
        await admin.call(
          'ACL',
          'SETUSER',
          'limited',
          'on',
          '>pw',
          '~amesh:nonce:*',
          '+set',
          '+getrange',
          '+pexpire',
        );
        admin.disconnect();
      }
      const [a, b] = both;
      const address = await startTcpSwitch(a.port);
      onTestFinished(() => address.close());
      const url = `redis://limited:pw@127.0.0.1:${address.port}`;
      const instances = await startInstances(onTestFinished, { url }, 2);
      for (const next of [b, a, b, a]) {
        address.leadTo(next.port, 'stay');
        await used(next);
        await instances.expectExact();
      }
    });

    it.for(['stay', 'end'] as const)(
      'HAProxy with a backup server, whose sessions %s',
      { skip: !hasHaproxy },
      async (sessions, { onTestFinished }) => {
        const [a, b] = await startTwo(onTestFinished);
        const haproxy = await startHaproxy([a.port, b.port], sessions);
        onTestFinished(() => haproxy.stop());
        const instances = await startInstances(onTestFinished, { url: `redis://127.0.0.1:${haproxy.port}` });
        for (const ms of [500, 4000]) {
          await haproxy.setFirst('maint');
          await sleep(ms);
          await haproxy.setFirst('ready');
          instances.start();
          await instances.expectExact();
        }
      },
    );

    it('a failover by a sentinel, and back', async ({ onTestFinished }) => {
      const { sentinelPort, name, stop } = await startRedisSentinel();
      onTestFinished(stop);
      const redis = { sentinels: [{ host: '127.0.0.1', port: sentinelPort }], name };
      const instances = await startInstances(onTestFinished, { redis }, 2);
      const sentinel = new Redis(sentinelPort, '127.0.0.1');
      onTestFinished(() => sentinel.disconnect());
      const masterPort = async () =>
        String(((await sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)) as string[])[1]);
      for (let i = 0; i < 2; i++) {
        const before = await masterPort();
        for (const endsAt = Date.now() + 60_000; (await masterPort()) === before; await sleep(100)) {
          await sentinel.call('SENTINEL', 'FAILOVER', name).catch(() => {}); // one may be on its way, or no replica be ready
          if (Date.now() > endsAt) throw new Error('The sentinel did not fail over in 60 s.');
        }
        await instances.expectExact();
      }
    });

    it('a cluster whose slots move to another node, and back', async ({ expect, onTestFinished }) => {
      const cluster = await startRedisCluster();
      onTestFinished(cluster.stop);
      const [a, b] = cluster.masters as [RedisServer, RedisServer];
      const nodes = cluster.masters.map(({ url }) => url);
      const instances = await startInstances(onTestFinished, { cluster: nodes }, 2);
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        await cluster.moveSlots(from, to, 1500);
        instances.start();
        await instances.expectExact();
      }
      await expect.poll(() => instances.replayer.recorded).toBeGreaterThan(50);
    });

    it('a cluster that fails over to a replica, and back', async ({ onTestFinished }) => {
      const cluster = await startRedisCluster({ replica: true });
      onTestFinished(cluster.stop);
      const nodes = cluster.masters.map(({ url }) => url);
      const instances = await startInstances(onTestFinished, { cluster: nodes }, 2);
      for (const { url } of [cluster.replica, cluster.masters[0]] as RedisServer[]) {
        const next = new Redis(url);
        onTestFinished(() => next.disconnect());
        for (
          const endsAt = Date.now() + 60_000;
          !/role:master/.test(await next.info('replication'));
          await sleep(200)
        ) {
          await next.call('CLUSTER', 'FAILOVER').catch(() => {}); // one may be on its way
          if (Date.now() > endsAt) throw new Error('The cluster did not fail over in 60 s.');
        }
        instances.start();
        await instances.expectExact();
      }
    });

    it('a Redis that starts again with an older copy of its data', async ({ onTestFinished }) => {
      const folder = mkdtempSync(join(tmpdir(), 'amesh-copy-'));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20 }));
      const redis = await startRedis({ args: ['--dir', folder] });
      onTestFinished(() => redis.stop());
      const instances = await startInstances(onTestFinished, { url: redis.url }, 2);
      const admin = new Redis(redis.url);
      await admin.save();
      admin.disconnect();
      await used(redis); // so that the copy lacks what was let in since
      await redis.restart();
      instances.start();
      await instances.expectExact();
    });
  },
);
