import { cp } from 'node:fs/promises';
import { createIdentity } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type Fleet, startFleet, until } from '../support/fleet';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { Machine, objectOf, useMachines } from './amesh';

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

  it('init puts the list there, and says what instances need', async () => {
    const made = await (await machine()).amesh(['init', '--name', 'shared-api'], { env });
    expect(made).toMatchObject({ code: 0 });
    expect(made.stderr).toContain('✓ The allow list is in the store of AMESH_STORE_URL.');
    expect(made.stderr).toMatch(/Instances without the key: {2}AMESH_OWNER_KEY=[A-Za-z0-9_-]{44}\n/);
  });

  it('another administrator with the owner key adds, sees and revokes, and hears how many have confirmed', async () => {
    const other = await machine();
    await cp(fleet.targetDir, other.dir, { recursive: true });
    const peer = await createIdentity((await machine()).dir, {}, { friendlyName: 'laptop' });
    const line = `amesh-p256 ${peer.publicKey} laptop`;
    expect(await other.amesh(['trust', 'add', '--role', 'controller', line], { env })).toMatchObject({
      code: 0,
    });
    expect(await other.amesh(['config', 'hosts', '--add', 'b.example.com'], { env })).toMatchObject({
      code: 0,
    });
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
  }, 60_000);

  it('a store that is not there: whose fault it is, and that nothing was changed', async () => {
    const ran = await new Machine(fleet.targetDir).amesh(['list'], {
      env: { AMESH_STORE_URL: 'redis://127.0.0.1:1' },
    });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('The store of the allow list failed: connect ECONNREFUSED 127.0.0.1:1.');
  });

  it.each([
    [[], 'Which device? Give its name or id, or --all-controllers.'],
    [['laptop', '--all-controllers'], 'Which device? Give its name or id, or --all-controllers.'],
  ])('revoke %j is a usage error', async (args, message) => {
    const ran = await (await machine()).amesh(['revoke', ...args]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(message);
  });
});
