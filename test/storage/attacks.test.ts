import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createIdentity, openDevice, resetTrust, revokeDevice, setHosts } from '@authmesh/sdk/admin';
import { RedisNonceStore } from '@authmesh/sdk/redis';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startFleet, until } from '../support/fleet';
import { documentOf, withDevices } from '../support/list-document';
import { randomNonce } from '../support/nonce-store';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { otherwiseForMs } from '../support/waiting';

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

  it('a list larger than any list can be is not fetched beyond that size', async () => {
    const { deviceId } = await createIdentity(dir, env, { friendlyName: 'api' });
    const { trust } = await openDevice(dir, env);
    await admin.hset(`amesh:list:${deviceId}`, 'document', Buffer.alloc(20_000_000, 'x'));
    const before = await sentBytes();
    await expect(trust.read()).rejects.toMatchObject({ code: expect.stringMatching(/^allow_list_/) });
    expect((await sentBytes()) - before).toBeLessThan(1_000_000);
  });

  it('something that is not a document in its place: accepts nobody, and the list can be started again', async () => {
    const { deviceId } = await createIdentity(dir, env, { friendlyName: 'api' });
    const { trust } = await openDevice(dir, env);
    const key = `amesh:list:${deviceId}`;
    await admin.del(key);
    await admin.hset(key, 'a', 'b');
    // Not `allow_list_unavailable`: then a device that was just revoked would stay trusted for another minute.
    await expect(trust.read()).rejects.toMatchObject({ code: 'allow_list_integrity_failure' });
    await resetTrust(dir, env);
    expect((await documentOf(trust)).devices).toEqual([]);
    const lastSeen = `amesh:list:${deviceId}:seen:`;
    await admin.hset(lastSeen, 'a', 'b');
    const list = await withDevices(trust, ['am_BBBBBBBBBBBBBBBB']);
    const times = new Map([['am_BBBBBBBBBBBBBBBB', 1000]]);
    expect(await trust.lastSeen.add(times, list)).toBe(1);
    expect([...(await trust.lastSeen.read(list))]).toEqual([...times]);
  });

  it('a record of last-seen times of many megabytes ends no process, is not fetched, and makes room at the next write', async () => {
    const { deviceId } = await createIdentity(dir, env, { friendlyName: 'api' });
    const { trust } = await openDevice(dir, env);
    const key = `amesh:list:${deviceId}:seen:`;
    const list = await withDevices(trust, ['am_BBBBBBBBBBBBBBBB']);
    const read = async () => (await admin.hget(key, 'document')) ?? '';
    const put = async (record: Buffer) => void (await admin.hset(key, 'document', record));
    const times = new Map([['am_BBBBBBBBBBBBBBBB', 1000]]);
    await put(Buffer.alloc(80_000_000, '\n'));
    const before = await sentBytes();
    expect((await trust.lastSeen.read(list)).size).toBe(0);
    expect(await trust.lastSeen.add(times, list)).toBe(1);
    expect((await sentBytes()) - before).toBeLessThan(40_000_000);
    expect(await read()).toMatch(/^since \d+\nam_BBBBBBBBBBBBBBBB 1000\n$/);
    await put(Buffer.alloc(1_000_000, 'am_AAAAAAAAAAAAAAAA 1\n\n \n'));
    expect([...(await trust.lastSeen.read(list))]).toEqual([['am_AAAAAAAAAAAAAAAA', 1]]);
    expect(await trust.lastSeen.add(times, list)).toBe(1);
    expect(await read()).toMatch(/^since \d+\nam_BBBBBBBBBBBBBBBB 1000\n$/);
  });

  it('messages on its channel without end: the list is read a few times a second, and a change still applies immediately', async () => {
    const fleet = await startFleet(1, env);
    const [server] = fleet.servers;
    if (server === undefined) throw new Error('There is no server.');
    expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
    const { identity, trust } = await fleet.open();
    const channel = `amesh:list:${identity.deviceId}`;
    const before = await counter('commandstats', 'cmdstat_hstrlen');
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
    // 20 a second by the rest between them, and the polls.
    expect((await counter('commandstats', 'cmdstat_hstrlen')) - before).toBeLessThan(30 * seconds);
    await trust.update((list) => revokeDevice(list, fleet.callerId, 0));
    const isRefused = async () => (await fleet.call(server)) === '401 {"error":"unauthorized"}';
    expect(await otherwiseForMs(isRefused, [server.pid])).toBeLessThan(1000);
    isOver = true;
    await flooding;
    await fleet.stop();
  });
});

describeWithRedis('an instance', () => {
  it('that is started before its identity exists still hears of changes', async () => {
    const redis = await startRedis();
    const admin = new Redis(redis.url);
    const fleet = await startFleet(0, { AMESH_STORE_URL: redis.url });
    const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    const server = await fleet.start({ AUTH_MESH_DIR: dir });
    expect(await fleet.call(server)).toContain('503');
    await cp(fleet.targetDir, dir, { recursive: true });
    expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
    const channel = `amesh:list:${(await fleet.open()).identity.deviceId}`;
    await vi.waitFor(async () => expect(await admin.pubsub('NUMSUB', channel)).toEqual([channel, 1]), 10_000);
    await fleet.stop();
    admin.disconnect();
    await redis.stop();
    await rm(dir, { recursive: true, maxRetries: 5 });
  });

  it('and an administrator need no more of Redis than docs/production.md says', async () => {
    const docs = await readFile(new URL('../../docs/production.md', import.meta.url), 'utf8');
    const [, rules = ''] = /For all of this, the\s+Redis\s+user\s+needs\s+`([^`]+)`/.exec(docs) ?? [];
    const [, nonceRules = ''] = /The\s+Redis\s+user\s+needs\s+only\s+`([^`]+)`/.exec(docs) ?? [];
    expect([rules, nonceRules]).not.toContain('');
    const redis = await startRedis();
    const admin = new Redis(redis.url);
    await admin.call('ACL', 'SETUSER', 'list', 'reset', 'on', '>pw', ...rules.split(/\s+/));
    await admin.call('ACL', 'SETUSER', 'nonces', 'reset', 'on', '>pw', ...nonceRules.split(/\s+/));
    const as = (user: string) => `redis://${user}:pw@127.0.0.1:${redis.port}`;
    const fleet = await startFleet(1, { AMESH_STORE_URL: as('list'), REDIS_URL: as('nonces') });
    const [server] = fleet.servers;
    if (server === undefined) throw new Error('There is no server.');
    expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
    const { trust } = await fleet.open();
    const { head } = await trust.update((list) => setHosts(list, ['a.example']));
    await vi.waitFor(
      async () => expect(await trust.confirmations(head.revision)).toEqual({ confirmed: 1, instances: 1 }),
      10_000,
    );
    await vi.waitFor(
      async () => expect((await trust.lastSeen.read(await trust.read())).size).toBe(1),
      10_000,
    );
    const nonces = new RedisNonceStore({ url: as('nonces'), timeoutMs: 10_000 });
    expect(await nonces.claim('am_AAAAAAAAAAAAAAAA/delegates', randomNonce(), Date.now() + 60_000)).toBe(
      true,
    );
    await nonces.close();
    const denied = (await admin.call('ACL', 'LOG')) as unknown[][];
    expect(denied.map((entry) => entry[5])).toEqual([]);
    await fleet.stop();
    admin.disconnect();
    await redis.stop();
  });
});
