import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createIdentity, openDevice, revokeDevice } from '@authmesh/sdk/admin';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startFleet, until } from '../support/fleet';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';

const PASSED = '200 passed';

describeWithRedis('somebody who can write to the store of the list', () => {
  let redis: RedisServer;
  let admin: Redis;
  let dir: string;
  let env: Record<string, string>;
  beforeEach(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
    env = { AMESH_STORE_URL: redis.url };
    dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  });
  afterEach(async () => {
    admin.disconnect();
    await redis.stop();
    await rm(dir, { recursive: true, maxRetries: 5 });
  });

  const counter = async (section: string, name: string) =>
    Number(new RegExp(`^${name}[:=]?(?:calls=)?(\\d+)`, 'm').exec(await admin.info(section))?.[1] ?? 0);
  const sentBytes = () => counter('stats', 'total_net_output_bytes');

  it('a list larger than any can be is not fetched beyond that', async () => {
    const { deviceId } = await createIdentity(dir, env, { friendlyName: 'api' });
    const { trust } = await openDevice(dir, env);
    await admin.setrange(`amesh:${deviceId}:allow_list.json`, 150_000_000, 'x');
    const before = await sentBytes();
    await expect(trust.read()).rejects.toMatchObject({ code: expect.stringMatching(/^allow_list_/) });
    expect((await sentBytes()) - before).toBeLessThan(70_000_000);
  });

  it('a record of last-seen times of many megabytes ends no process, and is not fetched', async () => {
    const { deviceId } = await createIdentity(dir, env, { friendlyName: 'api' });
    const { trust } = await openDevice(dir, env);
    const key = `amesh:${deviceId}:last_seen.txt`;
    const times = new Map([['am_BBBBBBBBBBBBBBBB', 1000]]);
    await admin.set(key, Buffer.alloc(80_000_000, '\n'));
    const before = await sentBytes();
    expect((await trust.lastSeen.read()).size).toBe(0);
    expect(await trust.lastSeen.add(times, () => true)).toBe(0);
    expect((await sentBytes()) - before).toBeLessThan(40_000_000);
    await admin.set(key, Buffer.alloc(1_000_000, 'am_AAAAAAAAAAAAAAAA 1\n\n \n'));
    expect([...(await trust.lastSeen.read())]).toEqual([['am_AAAAAAAAAAAAAAAA', 1]]);
    expect(await trust.lastSeen.add(times, (id) => id.includes('B'))).toBe(1);
    expect(await admin.get(key)).toBe('am_BBBBBBBBBBBBBBBB 1000\n');
  });

  it('messages on its channel without end: the list is read some times a second, and a change still counts at once', async () => {
    const fleet = await startFleet(1, env);
    const [server] = fleet.servers;
    if (server === undefined) throw new Error('There is no server.');
    expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
    const { identity, trust } = await fleet.open();
    const channel = `amesh:${identity.deviceId}:allow_list.json`;
    const before = await counter('commandstats', 'cmdstat_get(?:range)?');
    const startedAt = performance.now();
    let isOver = false;
    const flooding = (async () => {
      while (!isOver) {
        for (let i = 0; i < 20; i++) admin.publish(channel, 'changed').catch(() => {});
        await sleep(5);
      }
    })();
    await sleep(2000);
    const seconds = (performance.now() - startedAt) / 1000;
    expect((await counter('commandstats', 'cmdstat_get(?:range)?')) - before).toBeLessThan(20 * seconds);
    await trust.update((list) => revokeDevice(list, fleet.callerId, 0));
    const revokedAt = performance.now();
    expect(await until('401 {"error":"unauthorized"}', () => fleet.call(server))).toBe(
      '401 {"error":"unauthorized"}',
    );
    expect(performance.now() - revokedAt).toBeLessThan(1000);
    isOver = true;
    await flooding;
    await fleet.stop();
  }, 30_000);
});
