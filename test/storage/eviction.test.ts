import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, openDevice, probeRedis, setHosts } from '@authmesh/sdk/admin';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Fleet, startFleet, until } from '../support/fleet';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';

const PASSED = '200 passed';
const REFUSED = '503 {"error":"allow_list_unavailable"}';

describeWithRedis('a Redis that may evict the list', { timeout: 150_000 }, () => {
  let redis: RedisServer;
  let admin: Redis;
  let root: string;
  let fleet: Fleet;
  const setPolicy = (policy: string) => admin.call('CONFIG', 'SET', 'maxmemory-policy', policy);
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'amesh-eviction-'));
    redis = await startRedis({ args: ['--maxmemory', '4mb', '--maxmemory-policy', 'allkeys-lru'] });
    admin = new Redis(redis.url);
  });
  afterAll(async () => {
    await fleet?.stop();
    admin?.disconnect();
    await redis?.stop();
    await rm(root, { recursive: true, force: true });
  });

  it.each(['allkeys-lru', 'allkeys-lfu', 'allkeys-random'])('is given no list: %s', async (policy) => {
    await setPolicy(policy);
    const env = { AMESH_STORE_URL: redis.url };
    await expect(createIdentity(join(root, policy), env, { friendlyName: 'api' })).rejects.toMatchObject({
      code: 'allow_list_unavailable',
      detail: expect.stringContaining(`the maxmemory-policy ${policy}, and may evict the allow list.`),
      command: ['redis-cli', 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction'],
    });
    expect(await admin.keys('amesh:list:*')).toEqual([]);
    expect((await probeRedis(redis.url, 'AMESH_STORE_URL'))?.why).toContain('may evict the allow list');
  });

  it('is read by no instance that starts, and the list never disappears silently', async () => {
    await setPolicy('volatile-lru'); // which evicts only what has a time to live
    fleet = await startFleet(1, { AMESH_STORE_URL: redis.url, STALE: '5' });
    const [server] = fleet.servers as [Fleet['servers'][number]];
    expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
    expect(await probeRedis(redis.url, 'AMESH_STORE_URL')).toBeNull();

    await setPolicy('allkeys-lru');
    const started = await fleet.start();
    expect(await until(REFUSED, () => fleet.call(started))).toBe(REFUSED);
    // On a busy machine it refuses first because Redis has not answered yet.
    const refusals = async () => {
      expect(await fleet.call(started)).toBe(REFUSED);
      return started.stderr();
    };
    await expect.poll(refusals).toContain('may evict the allow list.');
    // A real Redis under pressure does evict it.
    const [key = ''] = await admin.keys('amesh:list:*');
    for (let i = 0; i < 100 && (await admin.exists(key)) === 1; i++) {
      const many = admin.pipeline();
      for (let j = 0; j < 100; j++) many.set(`cache:${i}:${j}`, 'x'.repeat(2000));
      await many.exec();
    }
    expect(await admin.exists(key)).toBe(0);
    // At most maxStaleSeconds later: it may have asked for the policy before it looked for the list.
    await expect
      .poll(() => fleet.call(server), { timeout: 90_000 })
      .toMatch(
        /^(?:503 \{"error":"allow_list_unavailable"\}|500 \{"error":"allow_list_integrity_failure"\})$/,
      );
    const { trust } = await openDevice(fleet.targetDir, { AMESH_STORE_URL: redis.url });
    await expect(trust.update((draft) => setHosts(draft, ['a.example']))).rejects.toMatchObject({
      code: expect.stringMatching(/^allow_list_/),
    });
  });
});
