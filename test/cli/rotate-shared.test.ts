import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Fleet, startFleet, until } from '../support/fleet';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { SOON } from '../support/waiting';
import { Machine, objectOf, type Ran } from './amesh';
import { PASSED } from './deployment';

/** What a command says that instances need. */
function variables({ code, stderr }: Ran): Record<string, string> {
  expect(code, stderr).toBe(0);
  const lines = [...stderr.matchAll(/^ {4}(AMESH_\w+)=(\S+)$/gm)].map(([, name = '', value = '']) => [
    name,
    value,
  ]);
  expect(lines.map(([name]) => name)).toEqual(['AMESH_OWNER_KEY', 'AMESH_DEVICE_ID']);
  return Object.fromEntries(lines);
}

describeWithRedis(
  'amesh rotate, if Redis has the list and an instance reads it',
  { timeout: 300_000 },
  () => {
    let redis: RedisServer;
    let fleet: Fleet;
    let owner: Machine;
    let store: Record<string, string>;
    beforeAll(async () => {
      redis = await startRedis();
      store = { AMESH_STORE_URL: redis.url };
      fleet = await startFleet(0, store);
      owner = new Machine(fleet.targetDir);
    });
    afterAll(async () => {
      await fleet?.stop();
      await redis?.stop();
    });

    /** An instance that has only these variables, and no folder. */
    async function passes(env: Record<string, string>): Promise<void> {
      const instance = await fleet.start({ ...env, AUTH_MESH_DIR: `${fleet.root}/none` });
      expect(await until(PASSED, () => fleet.call(instance), SOON), instance.stderr()).toBe(PASSED);
      instances.push(instance);
    }
    const instances: Awaited<ReturnType<Fleet['start']>>[] = [];
    const latest = async () => {
      const instance = instances.at(-1) as (typeof instances)[number];
      return until(PASSED, () => fleet.call(instance), SOON);
    };

    it('stops before the list is sealed, and each printed line is what the instance needs, twice in a row', async () => {
      await passes({ ...store, AMESH_OWNER_KEY: fleet.ownerKey });
      let former = fleet.ownerKey;
      for (const _ of [1, 2]) {
        const both = variables(await owner.amesh(['rotate'], { env: store }));
        expect(both.AMESH_OWNER_KEY).toMatch(new RegExp(`^${former},`));
        const waits = await owner.amesh(['doctor'], { env: store });
        expect(waits.stdout).toMatch(/! rotation .* is made, and not used yet/);
        expect((await owner.amesh(['status'], { env: store })).stdout).toMatch(
          /rotation +to am_\S+, made .* not used yet/,
        );
        expect(await latest()).toBe(PASSED);
        await passes({ ...store, ...both });
        for (const env of [store, { ...store, ...both }])
          expect(variables(await owner.amesh(['rotate'], { env }))).toEqual(both); // nobody has said that they have it
        const swapped = await owner.amesh(['rotate', '--yes', '--json'], { env: { ...store, ...both } });
        expect(objectOf(swapped)).toMatchObject({
          isSwapped: true,
          waitsForOwners: null,
          list: both.AMESH_DEVICE_ID,
        });
        expect(await latest()).toBe(PASSED);
        const alone = variables(await owner.amesh(['rotate', 'finish'], { env: { ...store, ...both } }));
        expect(both.AMESH_OWNER_KEY).toBe(`${former},${alone.AMESH_OWNER_KEY}`);
        await passes({ ...store, ...alone });
        former = alone.AMESH_OWNER_KEY as string;
      }
      expect((await owner.amesh(['status'], { env: store })).stdout).toContain('sealed by this machine');
    });

    it('can be taken back until then, and not later', async () => {
      const { deviceId } = objectOf(await owner.amesh(['status', '--json'], { env: store }));
      const both = variables(await owner.amesh(['rotate'], { env: store }));
      const back = objectOf(await owner.amesh(['rotate', 'withdraw', '--yes', '--json'], { env: store }));
      expect(back).toMatchObject({ ok: true, deviceId, left: [] });
      expect(await latest()).toBe(PASSED);
      const again = variables(await owner.amesh(['rotate'], { env: store }));
      expect(again.AMESH_OWNER_KEY).not.toBe(both.AMESH_OWNER_KEY);
      expect(objectOf(await owner.amesh(['rotate', '--yes', '--json'], { env: store }))).toMatchObject({
        isSwapped: true,
      });
      const late = objectOf(await owner.amesh(['rotate', 'withdraw', '--yes', '--json'], { env: store }));
      expect(late).toMatchObject({ error: { code: 'rotation_final' } });
    });
  },
);
