import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Child } from '../support/child';
import { until } from '../support/fleet';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { Machine, objectOf, type Ran } from './amesh';
import { Deployment, type Move, PASSED, prepare, SIZE, type Variables } from './deployment';

const BROKEN = '500 {"error":"allow_list_integrity_failure"}';
describeWithRedis('a list in Redis that moves to its next owner', () => {
  let redis: RedisServer;
  let store: Variables;
  let move: Move;
  let deployment: Deployment;
  /** Runs from before the move to the end. */
  let witness: Child;
  let before: Buffer;
  let taken: Ran;
  const both = () => ({ ...store, AMESH_OWNER_KEY: `${move.owner},${move.next}` });
  const alone = () => ({ ...store, AMESH_OWNER_KEY: move.next, AMESH_DEVICE_ID: move.list });
  const dirOf = (name: string) => ({ AUTH_MESH_DIR: join(move.fleet.root, name) });
  const start = (name: string, env: Variables) => move.fleet.start({ ...env, ...dirOf(name) });

  beforeAll(async () => {
    redis = await startRedis();
    store = { AMESH_STORE_URL: redis.url };
    move = await prepare(store);
    deployment = new Deployment(move.fleet, move.list);
    await deployment.deploy((i) => ({ ...store, AMESH_OWNER_KEY: move.owner, ...dirOf(`i${i}`) }));
    deployment.begin();
    await deployment.deploy((i) => ({ ...both(), ...dirOf(`i${i}`) }));
    witness = await start('witness', both());
    expect(await until(PASSED, () => deployment.send(witness))).toBe(PASSED);
  }, 240_000);
  afterAll(async () => {
    await deployment?.end();
    await move?.fleet.stop();
    await redis?.stop();
  });

  it('cannot be changed by the next owner before that', async () => {
    const ran = await move.admin.amesh(['config', 'hosts', '--add', 'b.example', '--yes'], { env: both() });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('the former owner still seals the list');
    expect(ran.stderr).toContain('amesh trust take-over');
    const status = await move.admin.amesh(['status'], { env: both() });
    expect(status.stdout).toContain(`${move.list}, sealed by its owner`);
  });

  it('is taken over by nobody else, and only after a yes', async () => {
    const command = ['trust', 'take-over', '--yes'];
    const without = await move.admin.amesh(command, { env: store });
    expect(without.stderr).toContain(`has to be the one of this machine, ${move.next}.`);
    const first = await move.former.amesh(command, { env: both() });
    expect(first.stderr).toContain(`has to be the one of this machine, ${move.owner}.`);
    const unasked = await move.admin.amesh(['trust', 'take-over'], { env: both() });
    expect(unasked).toMatchObject({ code: 2 });
    expect(unasked.stderr).toContain('Use --yes.');
  });

  it('causes no refused request, from the first redeployment to the last', async () => {
    const provisioned = await move.former.amesh(['provision', '--name', 'robot'], { env: both() });
    expect(provisioned.code, provisioned.stderr).toBe(0);
    const redisClient = new Redis(redis.url);
    before = (await redisClient.hgetBuffer(`amesh:list:${move.list}`, 'document')) as Buffer;
    redisClient.disconnect();
    taken = await move.admin.amesh(['trust', 'take-over', '--yes'], { env: both() });
    expect(taken.code, taken.stderr).toBe(0);
    await deployment.deploy((i) => ({ ...alone(), ...dirOf(`i${i}`) }));
    await deployment.end(50);
    expect(deployment.refused).toEqual([]);
    console.log(`${deployment.sent} requests, none refused`);
  });

  it('the command has said what it did, and what comes next', () => {
    expect(taken.stderr).toContain(`✓ This machine now seals the list of ${move.list}, at revision `);
    const confirmed = new RegExp(`Confirmed by (?:all )?${SIZE + 1} `); // those that ended count for half a minute
    expect(taken.stderr).toMatch(confirmed);
    expect(taken.stderr).toContain('1 provision token had not been taken');
    expect(taken.stderr).toContain(`AMESH_OWNER_KEY=${move.next}\n`);
    expect(taken.stderr).toContain(`AMESH_DEVICE_ID=${move.list}\n`);
  });

  it('a second take-over changes nothing', async () => {
    const again = await move.admin.amesh(['trust', 'take-over', '--json'], { env: both() });
    expect(objectOf(again)).toMatchObject({ changed: false });
  });

  it('the new owner changes it like any other list', async () => {
    const env = alone();
    const [server] = deployment.active as [Child];
    const added = await move.admin.amesh(['config', 'hosts', '--add', 'b.example', '--yes'], { env });
    expect(added.code, added.stderr).toBe(0);
    const status = await move.admin.amesh(['status'], { env });
    expect(status.stdout).toContain(`${move.list}, sealed by this machine`);
    const doctor = await move.admin.amesh(['doctor', '--json'], { env });
    expect(objectOf(doctor).checks).toContainEqual(expect.objectContaining({ check: 'list', state: 'ok' }));
    expect(await deployment.send(server)).toBe(PASSED);
    // A caller that was paired after the move knows the target by the new owner's ID.
    const { deviceId } = objectOf(await move.admin.amesh(['whoami', '--json'], { env })) as {
      deviceId: string;
    };
    expect(await new Deployment(move.fleet, deviceId).send(server)).toBe(PASSED);
    expect(await new Deployment(move.fleet, move.fleet.callerId).send(server)).toContain('401');
    const wrong = await move.admin.amesh(['tokens', '--json'], { env });
    expect(wrong.stdout).toContain('cancelled');
  });

  it('the former owner learns why its changes no longer apply', async () => {
    for (const command of [
      ['revoke', move.fleet.callerId, '--yes'],
      ['config', 'hosts', '--add', 'c.example', '--yes'],
      ['trust', 'reset', '--yes'],
      ['trust', 'reset', '--keep', '--above', '2000000', '--yes'],
    ]) {
      const ran = await move.former.amesh(command, { env: both() });
      expect(ran.code, ran.stdout).toBe(1);
      expect(ran.stderr).toContain('taken over by its next owner');
      expect(ran.stderr).toContain('Change the list on the machine of the new owner.');
    }
    const listed = await move.former.amesh(['list'], { env: both() });
    expect(listed.stdout).toContain('caller');
    // Without the next key, all it sees is a seal that is not its own.
    const blind = new Machine(join(move.fleet.root, 'blind'));
    await cp(move.former.dir, blind.dir, { recursive: true });
    await rm(join(blind.dir, 'seen.json'));
    const ran = await blind.amesh(['list'], { env: store });
    expect(ran.stderr).toContain('sealed by another device');
    expect(ran.stderr).toContain('If it was moved to another owner');
  });

  describe("the former owner's last list, put back", () => {
    beforeAll(async () => {
      const redisClient = new Redis(redis.url);
      await redisClient.hset(`amesh:list:${move.list}`, 'document', before);
      await redisClient.publish(`amesh:list:${move.list}`, 'changed');
      redisClient.disconnect();
    });
    const answerOf = async (name: string, env: Variables, expected: string) => {
      const server = await start(name, env);
      return until(expected, () => deployment.send(server));
    };

    it('is refused by instances that run', async () => {
      for (const server of [witness, ...deployment.active])
        expect(await until(BROKEN, () => deployment.send(server)), server.stderr()).toBe(BROKEN);
      expect(witness.stderr()).toContain('The allow list is an older copy');
    });

    it('is refused by an instance that starts with only the new key and no memory', async () => {
      expect(await answerOf('fresh', alone(), BROKEN)).toBe(BROKEN);
    });

    it('is refused by an instance that starts with both keys, or with the former one, if it has seen the new owner', async () => {
      expect(await answerOf('witness', both(), BROKEN)).toBe(BROKEN);
      const swapped = { ...store, AMESH_OWNER_KEY: `${move.next},${move.owner}`, AMESH_DEVICE_ID: move.list };
      expect(await answerOf('witness', swapped, BROKEN)).toBe(BROKEN);
      expect(await answerOf('witness', { ...store, AMESH_OWNER_KEY: move.owner }, BROKEN)).toBe(BROKEN);
    });

    it('is accepted with both keys and no memory, unless AMESH_MIN_REVISION is set', async () => {
      expect(await answerOf('fresh2', both(), PASSED)).toBe(PASSED);
      const { revision } = JSON.parse(`{${/"revision":\d+/.exec(before.toString('latin1'))?.[0]}}`);
      const min = { ...both(), AMESH_MIN_REVISION: String(revision + 1) };
      expect(await answerOf('fresh3', min, BROKEN)).toBe(BROKEN);
    });
  });
});

describe('a list in a folder whose owner lost its key', () => {
  let move: Move;
  let deployment: Deployment;
  const dir = () => join(move.fleet.root, 'served');
  const both = () => ({ AMESH_OWNER_KEY: `${move.owner},${move.next}` });
  const alone = () => ({ AMESH_OWNER_KEY: move.next, AMESH_DEVICE_ID: move.list });

  beforeAll(async () => {
    move = await prepare({});
    deployment = new Deployment(move.fleet, move.list);
    // What the owner left behind: its folder without the key.
    await cp(move.former.dir, dir(), { recursive: true });
    await rm(join(dir(), 'keys'), { recursive: true });
    await deployment.deploy(() => ({ ...both(), AUTH_MESH_DIR: dir() }));
    deployment.begin();
  }, 240_000);
  afterAll(async () => {
    await deployment?.end();
    await move?.fleet.stop();
  });

  it('is sealed by the next owner in the same folder, and no request is refused', async () => {
    // The next identity takes the place of the lost one.
    for (const name of ['identity.json', 'keys', '.passphrase'])
      await cp(join(move.admin.dir, name), join(dir(), name), { recursive: true, force: true });
    const here = new Machine(dir());
    const taken = await here.amesh(['trust', 'take-over', '--yes'], { env: both() });
    expect(taken.code, taken.stderr).toBe(0);
    await deployment.deploy(() => ({ ...alone(), AUTH_MESH_DIR: dir() }));
    const { callerId } = move.fleet;
    expect(objectOf(await here.amesh(['list', '--json'], { env: alone() }))).toMatchObject({
      devices: [{ deviceId: callerId }],
    });
    await deployment.end(20);
    expect(deployment.refused).toEqual([]);
    const revoked = await here.amesh(['revoke', callerId, '--yes'], { env: alone() });
    expect(revoked.code, revoked.stderr).toBe(0);
    const [server] = deployment.active as [Child];
    const refused = '401 {"error":"unauthorized"}';
    expect(await until(refused, () => deployment.send(server))).toBe(refused);
  });

  it('moves as the text that amesh list --export printed, into the folder of the next owner', async () => {
    const exported = await move.former.amesh(['list', '--export']);
    const file = join(move.fleet.root, 'list.txt');
    await writeFile(file, exported.stdout);
    const none = await move.admin.amesh(['trust', 'take-over', '--yes'], { env: both() });
    expect(none.code).toBe(1);
    expect(none.stderr).toContain('amesh trust take-over list.txt');
    const taken = await move.admin.amesh(['trust', 'take-over', file, '--yes'], { env: both() });
    expect(taken.code, taken.stderr).toBe(0);
    const text = await move.admin.amesh(['list', '--export'], { env: alone() });
    expect(text.stdout).toContain(`"list":"${move.list}","owner":"${move.next}"`);
    expect(objectOf(await move.admin.amesh(['list', '--json'], { env: alone() }))).toMatchObject({
      devices: [{ deviceId: move.fleet.callerId }],
    });
  });
});
