import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir } from 'node:fs/promises';
import { addDevice, createIdentity, setHosts } from '@authmesh/sdk/admin';
import { toBase64Url } from '@authmesh/sdk/core';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Fleet, startFleet, until } from '../support/fleet';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { SOON } from '../support/waiting';
import { BIN, Machine, objectOf, type Ran, useMachines } from './amesh';

describeWithRedis('amesh on a store that instances share', () => {
  const machine = useMachines();
  let redis: RedisServer;
  let fleet: Fleet;
  let env: Record<string, string>;
  beforeAll(async () => {
    redis = await startRedis();
    env = { AMESH_STORE_URL: redis.url };
    fleet = await startFleet(2, { ...env, REDIS_URL: redis.url });
    for (const server of fleet.servers) {
      expect(await until('200 passed', () => fleet.call(server))).toBe('200 passed');
    }
  });
  afterAll(async () => {
    await fleet?.stop();
    await redis?.stop();
  });

  it('init puts the list into the store, and says what instances need', async () => {
    const made = await (await machine()).amesh(['init', '--name', 'shared-api'], { env });
    expect(made).toMatchObject({ code: 0 });
    expect(made.stderr).toContain('✓ The allow list is in the store of AMESH_STORE_URL.');
    expect(made.stderr).toMatch(/Instances without the key: {2}AMESH_OWNER_KEY=[A-Za-z0-9_-]{44}\n/);
  });

  it('init of an existing machine says what stays, and that its folder is no longer enough', async () => {
    const here = await machine();
    await here.amesh(['init', '--name', 'api', '--host', 'api.example.com']);
    const made = await here.amesh(['init', '--name', 'other', '--host', 'b.example'], { env });
    expect(made).toMatchObject({ code: 0 });
    expect(made.stderr).toContain('✓ Device   api  (');
    expect(made.stderr).toContain('is unchanged, including its name and hosts.\n');
    expect(made.stderr).toContain(`The list of this folder was moved to ${here.dir}`);
    expect(made.stderr).toContain('use this folder need AMESH_STORE_URL.\n');
    expect(made.stderr).toContain('  Accepts requests for api.example.com.\n');
    expect(made.stderr).not.toMatch(/safe to print|old identity/);
    const revoked = await here.amesh(['revoke', 'laptop', '--yes']);
    expect(revoked.code).toBe(1);
    expect(revoked.stderr).toContain('If the list is in a store, set AMESH_STORE_URL.');
  });

  it('another administrator with the owner key adds, sees and revokes, and sees how many have confirmed', async () => {
    const other = await machine();
    await cp(fleet.targetDir, other.dir, { recursive: true });
    const peer = await createIdentity((await machine()).dir, {}, { friendlyName: 'laptop' });
    const line = `amesh-p256 ${peer.publicKey} laptop`;
    expect(await other.amesh(['trust', 'add', '--role', 'controller', line], { env })).toMatchObject({
      code: 0,
    });
    const add = ['config', 'hosts', '--add', 'b.example.com', '--yes'];
    expect(await other.amesh(add, { env })).toMatchObject({ code: 0 });
    const seen = await new Machine(fleet.targetDir).amesh(['list', '--json'], { env });
    expect(
      JSON.parse(seen.stdout).devices.map((each: { friendlyName: string }) => each.friendlyName),
    ).toEqual(['caller', 'laptop']);
    await vi.waitFor(async () => {
      const { devices } = objectOf(await other.amesh(['list', '--json'], { env }));
      const [caller, laptop] = devices as { lastSeenAt: number | null }[];
      expect(laptop?.lastSeenAt).toBeNull();
      expect(Math.abs(Date.now() / 1000 - (caller?.lastSeenAt ?? 0))).toBeLessThan(60);
    }, 10_000);
    const revoked = await other.amesh(['revoke', 'laptop', '--yes'], { env });
    expect(revoked.stderr).toContain(`✓ Revoked "laptop" (${peer.deviceId}). Confirmed by all 2 instances.`);
    const all = await other.amesh(['revoke', '--all-controllers', '--yes', '--json'], { env });
    expect(JSON.parse(all.stdout)).toMatchObject({
      revoked: [{ friendlyName: 'caller' }],
      confirmations: { confirmed: 2, instances: 2 },
    });
    for (const server of fleet.servers) expect(await fleet.call(server)).toBe('401 {"error":"unauthorized"}');
    const none = await other.amesh(['revoke', '--all-controllers', '--yes'], { env });
    expect(none.stderr).toContain('✓ No device may call this machine. No changes were made.');
  });

  it('trust reset --keep continues from a list that a failover has set back', async () => {
    const { trust, identity } = await fleet.open();
    const caller = {
      deviceId: fleet.callerId,
      publicKey: toBase64Url(fleet.signer.publicKey),
      friendlyName: 'caller',
    };
    await trust.update((list) => addDevice(list, { ...caller, role: 'controller', hosts: [] }, 0));
    const admin = new Redis(redis.url);
    const key = `amesh:list:${identity.deviceId}`;
    const before = (await admin.hgetBuffer(key, 'document')) as Buffer;
    const { head } = await trust.update((list) => setHosts(list, ['other.example.com']));
    await vi.waitFor(
      async () => expect(await trust.confirmations(head.revision)).toEqual({ confirmed: 2, instances: 2 }),
      SOON,
    );
    await admin.hset(key, 'document', before);
    admin.disconnect();
    const broken = '500 {"error":"allow_list_integrity_failure"}';
    for (const server of fleet.servers) {
      expect(await until(broken, () => fleet.call(server))).toBe(broken);
    }
    const administrator = new Machine(fleet.targetDir);
    const ran = await administrator.amesh(['trust', 'reset', '--keep', '--yes'], { env });
    expect(ran).toMatchObject({ code: 0 });
    expect(ran.stderr).toMatch(/A copy of the old file is in \S+/);
    for (const server of fleet.servers) {
      expect(await until('200 passed', () => fleet.call(server))).toBe('200 passed');
    }
    const { devices } = objectOf(await administrator.amesh(['list', '--json'], { env }));
    expect((devices as { friendlyName: string }[]).map(({ friendlyName }) => friendlyName)).toEqual([
      'caller',
    ]);
  });

  it('without ioredis: the line that installs it for the command', async () => {
    const hooks = `export async function resolve(name, context, next) {
      if (name !== 'ioredis') return next(name, context);
      throw Object.assign(new Error('not here'), { code: 'ERR_MODULE_NOT_FOUND' });
    }`;
    const url = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
    const required = `const load = Module._load; Module._load = (name, ...rest) => {
      if (name !== 'ioredis') return load(name, ...rest);
      throw Object.assign(new Error('not here'), { code: 'MODULE_NOT_FOUND' });
    };`;
    const loader = `import Module, { register } from 'node:module'; register(${JSON.stringify(url(hooks))}); ${required}`;
    const ran = await new Machine(fleet.targetDir).amesh(['list'], {
      env: { ...env, NODE_OPTIONS: `--import=${url(loader)}` },
    });
    expect([ran.code, ran.stderr]).toEqual([
      1,
      '✗ The store of the allow list failed: ioredis is not installed.\n' +
        '  Run: npm install --global ioredis\n  No changes were made.\n',
    ]);
    const looked = await new Machine(fleet.targetDir).amesh(['doctor', '--json'], {
      env: { ...env, NODE_OPTIONS: `--import=${url(loader)}` },
    });
    const checks = objectOf(looked).checks as { check: string }[];
    expect(checks.find(({ check }) => check === 'store')).toEqual({
      check: 'store',
      state: 'warning',
      message: 'Not checked: ioredis is not installed. It must be installed next to this command.',
      fix: 'npm install --global ioredis',
    });
  });

  it('a store that is not reachable: the error names the cause, and says that nothing was changed', async () => {
    const ran = await new Machine(fleet.targetDir).amesh(['list'], {
      env: { AMESH_STORE_URL: 'redis://127.0.0.1:1' },
    });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('The store of the allow list failed: connect ECONNREFUSED 127.0.0.1:1.');
  });

  it.each(['localhost:6379', 'redis://user:s3cret@localhost/cache'])(
    'AMESH_STORE_URL=%s counts as a wrong setting, and no secret is printed',
    async (url) => {
      const ran = await new Machine(fleet.targetDir).amesh(['list', '--json'], {
        env: { AMESH_STORE_URL: url },
      });
      expect(ran.code).toBe(2);
      expect(objectOf(ran)).toMatchObject({ ok: false, error: { code: 'usage' } });
      expect(ran.stdout).toContain('AMESH_STORE_URL');
      expect(ran.stdout + ran.stderr).not.toMatch(/s3cret|bug/);
    },
  );

  it.each(['gone', 'asleep'])('a Redis that is %s: the command ends when it has said so', async (how) => {
    const own = await startRedis();
    const here = await machine();
    await here.init('api');
    if (how === 'gone') await own.stop();
    else own.pause();
    // A command that waits for ioredis does it each time, for 2 s; a machine that is busy is not late each time.
    let restMs = Number.POSITIVE_INFINITY;
    for (const endsAt = performance.now() + SOON; restMs >= 1000 && performance.now() < endsAt; ) {
      const child = spawn(process.execPath, [BIN, 'list'], { env: here.env({ AMESH_STORE_URL: own.url }) });
      let saidAt = 0;
      child.stderr.on('data', () => {
        saidAt = performance.now();
      });
      expect(await once(child, 'close')).toEqual([1, null]);
      restMs = performance.now() - saidAt;
    }
    expect(restMs).toBeLessThan(1000);
    await own.stop();
  });

  it('init --force for a store that is not reachable: the existing identity stays', async () => {
    const here = await machine();
    const { deviceId } = await here.init('api');
    const before = await readdir(here.dir, { recursive: true });
    const ran = await here.amesh(['init', '--name', 'new-api', '--force', '--yes'], {
      env: { AMESH_STORE_URL: 'redis://127.0.0.1:1' },
    });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('No changes were made.');
    expect((await readdir(here.dir, { recursive: true })).sort()).toEqual(before.sort());
    expect((await here.allowList()).list).toBe(deviceId);
  });

  describe('revoke', () => {
    it('counts no invalid instances: in the future, long ago, or garbage', async () => {
      const admin = new Redis(redis.url);
      const key = await recordKey();
      await vi.waitFor(async () => expect(await admin.hlen(key)).toBe(2), 15_000);
      const now = Math.floor(Date.now() / 1000);
      await admin.hset(key, { a: `999999999 ${now + 86_400}`, b: `1 ${now - 31}`, c: 'rubbish', d: '1' });
      const [ran, peer] = await revokeOne();
      expect(ran.stderr).toContain(`✓ Revoked "peer" (${peer}). Confirmed by all 2 instances.`);
      await vi.waitFor(async () => expect(await admin.hlen(key)).toBe(2), 15_000);
      admin.disconnect();
    });

    it('says that it does not know the number if the record of instances cannot be read', async () => {
      const admin = new Redis(redis.url);
      await admin.set(await recordKey(), 'no record');
      const [ran, peer] = await revokeOne();
      expect(ran.stderr).toContain(
        `✓ Revoked "peer" (${peer}). The store does not say which instances have the new list.`,
      );
      await admin.del(await recordKey());
      admin.disconnect();
    });

    async function recordKey(): Promise<string> {
      return `amesh:list:${(await fleet.open()).identity.deviceId}:instances`;
    }

    async function revokeOne(): Promise<[Ran, string]> {
      const peer = await createIdentity((await machine()).dir, {}, { friendlyName: 'peer' });
      const { trust } = await fleet.open();
      await trust.update((list) => addDevice(list, { ...peer, role: 'controller', hosts: [] }, 0));
      return [await new Machine(fleet.targetDir).amesh(['revoke', 'peer', '--yes'], { env }), peer.deviceId];
    }
  });

  it.each([
    [[], 'Which device? Give its name or ID, or --all-controllers.'],
    [['laptop', '--all-controllers'], 'Which device? Give its name or ID, or --all-controllers.'],
  ])('revoke %j is a usage error', async (args, message) => {
    const ran = await (await machine()).amesh(['revoke', ...args]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(message);
  });
});
