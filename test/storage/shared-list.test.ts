import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createIdentity, openDevice, revokeDevice, setHosts } from '@authmesh/sdk/admin';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Child } from '../support/child';
import { type Fleet, startFleet, until } from '../support/fleet';
import { times } from '../support/full';
import { documentOf } from '../support/list-document';
import { StolenTime } from '../support/pauses';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { otherwiseForMs, SOON } from '../support/waiting';

const PASSED = '200 passed';
const REFUSED = '401 {"error":"unauthorized"}';
const BROKEN = '500 {"error":"allow_list_integrity_failure"}';
const UNAVAILABLE = '503 {"error":"allow_list_unavailable"}';

let redis: RedisServer;
let admin: Redis;
let fleet: Fleet;
let folders: string[];
beforeEach(async () => {
  folders = [];
  redis = await startRedis();
  admin = new Redis(redis.url);
  admin.on('error', () => {});
});
afterEach(async () => {
  await fleet.stop();
  admin.disconnect();
  await redis.stop();
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true, maxRetries: 20 })));
});

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  folders.push(path);
  return path;
}

/** Instances without a private key: nothing but the owner's public key and the store. */
async function startVerifiers(size: number): Promise<readonly Child[]> {
  fleet = await startFleet(0, { AMESH_STORE_URL: redis.url, REDIS_URL: redis.url });
  for (let i = 0; i < size; i++) await startVerifier(await folder());
  for (const server of fleet.servers) expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
  return fleet.servers;
}

function startVerifier(dir: string): Promise<Child> {
  return fleet.start({ AMESH_OWNER_KEY: fleet.ownerKey, AUTH_MESH_DIR: dir });
}

const keyOf = async () => `amesh:list:${(await fleet.open()).identity.deviceId}`;

async function put(key: string, document: Buffer): Promise<void> {
  await admin.multi().del(key).hset(key, 'document', document).exec();
}

describeWithRedis('instances that share a list in Redis', () => {
  it('with the mounted key, and without any, accept whom the owner trusts', async () => {
    fleet = await startFleet(1, { AMESH_STORE_URL: redis.url, REDIS_URL: redis.url });
    await startVerifier(await folder());
    for (const server of fleet.servers) {
      expect(await until(PASSED, () => fleet.call(server)), server.stderr()).toBe(PASSED);
    }
  });

  it('read it before anybody has called them', async () => {
    fleet = await startFleet(0, { AMESH_STORE_URL: redis.url });
    const server = await startVerifier(await folder());
    const key = `${await keyOf()}:instances`;
    await vi.waitFor(async () => expect(await admin.hlen(key)).toBe(1), SOON);
    expect(await fleet.call(server)).toBe(PASSED);
  });

  it('say where the list is changed, when they refuse a device that it does not have', async () => {
    fleet = await startFleet(1, { AMESH_STORE_URL: redis.url, REDIS_URL: redis.url });
    await startVerifier(await folder());
    const { trust } = await fleet.open();
    await trust.update((list) => revokeDevice(list, fleet.callerId, 0));
    for (const [index, home] of [`AUTH_MESH_DIR ${fleet.targetDir}`, 'where the identity is'].entries()) {
      const server = fleet.servers[index] as Child;
      expect(await until(REFUSED, () => fleet.call(server)), server.stderr()).toBe(REFUSED);
      expect(server.stderr()).toContain(
        `Pair it: run amesh listen here and amesh invite on the caller (${home}, with the same AMESH_STORE_URL)`,
      );
    }
  });

  it('revoke under a load of 500 requests a second: accept nobody a second later', async () => {
    const servers = await startVerifiers(4);
    let isOver = false;
    let since: { revokedAt: number; stolen: StolenTime } | undefined;
    let accepted = 0;
    let lateMs = 0;
    const sent: Promise<void>[] = [];
    const loading = (async () => {
      for (let i = 0; !isOver; i++) {
        const server = servers[i % servers.length] as Child;
        sent.push(
          fleet.sign().then(async (captured) => {
            const sentMs = since && performance.now() - since.revokedAt - since.stolen.ms;
            if ((await fleet.send(server, captured)) !== PASSED) return;
            accepted++;
            lateMs = Math.max(lateMs, sentMs ?? 0);
          }),
        );
        if (i % 10 === 9) await sleep(times(120, 20));
      }
    })();
    await vi.waitUntil(() => accepted > times(50, 300), SOON);
    const { trust } = await fleet.open();
    await trust.update((list) => revokeDevice(list, fleet.callerId, Math.floor(Date.now() / 1000)));
    const stolen = new StolenTime(...servers.map(({ pid }) => pid));
    since = { revokedAt: performance.now(), stolen };
    await sleep(2000);
    isOver = true;
    await loading;
    await Promise.all(sent);
    stolen.stop();
    expect(lateMs).toBeLessThan(1000);
    for (const server of servers) expect(await fleet.verdict(server)).toBe(REFUSED);
  });

  it('revoked while nobody was told (no pub/sub): learnt by reading, within two rounds', async () => {
    const [server] = (await startVerifiers(1)) as [Child];
    const chief = new Redis(redis.url);
    await chief.call('ACL', 'SETUSER', 'default', '-subscribe');
    await chief.client('KILL', 'TYPE', 'pubsub');
    chief.disconnect();
    const { trust } = await fleet.open();
    await trust.update((list) => revokeDevice(list, fleet.callerId, 0));
    const isRefused = async () => (await fleet.call(server)) === REFUSED;
    expect(await otherwiseForMs(isRefused, [server.pid])).toBeLessThan(2000);
  });

  it('tampered, truncated, deleted, swapped, rolled back: everybody is refused, and accepted again with the right list', async () => {
    const dir = await folder();
    fleet = await startFleet(0, { AMESH_STORE_URL: redis.url, REDIS_URL: redis.url });
    const running = await startVerifier(dir);
    const key = await keyOf();
    const older = (await admin.hgetBuffer(key, 'document')) as Buffer;
    const { trust } = await fleet.open();
    await trust.update((list) => setHosts(list, ['other.example.com']));
    expect(await until(PASSED, () => fleet.call(running))).toBe(PASSED);
    const good = (await admin.hgetBuffer(key, 'document')) as Buffer;

    const otherDir = await folder();
    const other = await createIdentity(otherDir, { AMESH_STORE_URL: redis.url }, { friendlyName: 'other' });
    const swapped = (await admin.hgetBuffer(`amesh:list:${other.deviceId}`, 'document')) as Buffer;
    const tampered = Buffer.from(good);
    tampered[good.indexOf('caller')] = 0x43;
    for (const [what, bytes] of [
      ['tampered', tampered],
      ['truncated', good.subarray(0, 100)],
      ['emptied', Buffer.alloc(0)],
      ['deleted', null],
      ['swapped', swapped],
      ['rolled back', older],
    ] as const) {
      if (bytes === null) await admin.del(key);
      else await put(key, bytes);
      expect(await until(BROKEN, () => fleet.call(running)), what).toBe(BROKEN);
      const fresh = await startVerifier(dir);
      expect(await until(BROKEN, () => fleet.call(fresh)), what).toBe(BROKEN);
      await put(key, good);
      for (const server of [running, fresh]) {
        expect(await until(PASSED, () => fleet.call(server)), what).toBe(PASSED);
      }
      fresh.kill('SIGKILL');
    }
  });

  it('of another type in Redis is as broken as any other one, and does not count as a silent store for maxStaleSeconds', async () => {
    fleet = await startFleet(0, { AMESH_STORE_URL: redis.url });
    const server = await startVerifier(await folder());
    expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
    const key = await keyOf();
    const good = (await admin.hgetBuffer(key, 'document')) as Buffer;
    await admin.del(key);
    await admin.lpush(key, 'a list, but not such a list');
    expect(await until(BROKEN, () => fleet.call(server))).toBe(BROKEN);
    await put(key, good);
    expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
  });

  it('a Redis that is gone: the list is used for maxStaleSeconds, and not longer', async () => {
    fleet = await startFleet(0, { AMESH_STORE_URL: redis.url, STALE: '3' });
    const server = await startVerifier(await folder());
    expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
    const good = (await admin.hgetBuffer(await keyOf(), 'document')) as Buffer;
    const goingAt = performance.now();
    await redis.stop();
    while (performance.now() - goingAt < 1000) expect(await fleet.call(server)).toBe(PASSED);
    const isUnavailable = async () => (await fleet.call(server)) === UNAVAILABLE;
    expect(await otherwiseForMs(isUnavailable, [server.pid])).toBeLessThan(2000);
    const fresh = await startVerifier(await folder()); // knows no list at all
    expect(await fleet.call(fresh)).toBe(UNAVAILABLE);
    await redis.restart();
    await put(await keyOf(), good);
    for (const each of [server, fresh]) expect(await until(PASSED, () => fleet.call(each))).toBe(PASSED);
  });

  it('an AMESH_OWNER_KEY of another target: nothing in its store is used', async () => {
    fleet = await startFleet(0, { AMESH_STORE_URL: redis.url, REDIS_URL: redis.url });
    const stranger = await createIdentity(await folder(), {}, { friendlyName: 'stranger' });
    const key = await keyOf();
    await admin.copy(key, `amesh:list:${stranger.deviceId}`);
    const server = await fleet.start({ AMESH_OWNER_KEY: stranger.publicKey, AUTH_MESH_DIR: await folder() });
    expect(await fleet.verdict(server)).toBe(BROKEN);
    expect(server.stderr()).toContain('The allow list is sealed by another device.');
  });

  it('a list of a folder is published if the store has none, and can then be changed nowhere else', async () => {
    fleet = await startFleet(0, {});
    const env = { AMESH_STORE_URL: redis.url };
    await expect((await openDevice(fleet.targetDir, env)).trust.read()).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
    });
    const before = await documentOf((await openDevice(fleet.targetDir, {})).trust);
    const made = await createIdentity(fleet.targetDir, env, { friendlyName: 'api', hosts: ['b.example'] });
    expect(made).toMatchObject({ published: true, wasThere: true, hosts: before.hosts });
    expect(JSON.parse(await readFile(join(made.movedTo as string, 'allow_list.json'), 'utf8'))).toMatchObject(
      {
        revision: before.revision,
      },
    );
    // The instances would not hear of it, and the administrator would think they had.
    const alone = await openDevice(fleet.targetDir, {});
    await expect(alone.trust.update((list) => revokeDevice(list, fleet.callerId, 0))).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
      fix: expect.stringContaining('set AMESH_STORE_URL'),
    });
    const { trust } = await openDevice(fleet.targetDir, env);
    expect((await documentOf(trust)).devices).toHaveLength(1);
    await trust.update((list) => revokeDevice(list, fleet.callerId, 0));
    await expect(createIdentity(fleet.targetDir, env, { friendlyName: 'api' })).rejects.toMatchObject({
      code: 'identity_exists',
    });
  });

  it('a change of the folder while its list is published is in the store, or was refused', {
    timeout: 300_000,
  }, async () => {
    fleet = await startFleet(0, {});
    const env = { AMESH_STORE_URL: redis.url };
    for (let round = 0; round < times(2, 5); round++) {
      const dir = await folder();
      await createIdentity(dir, {}, { friendlyName: 'api' });
      const alone = await openDevice(dir, {});
      const names = Array.from({ length: 20 }, (_, i) => `host${i}.example`);
      const [, ...changes] = await Promise.all([
        createIdentity(dir, env, { friendlyName: 'api' }),
        ...names.map((name) =>
          alone.trust
            .update((list) => setHosts(list, [...list.head.hosts, name]))
            .then(
              () => [name],
              () => [],
            ),
        ),
      ]);
      const { hosts } = await documentOf((await openDevice(dir, env)).trust);
      expect(hosts).toEqual(expect.arrayContaining(changes.flat()));
    }
  });
});
