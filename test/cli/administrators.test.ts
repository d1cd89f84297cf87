import { createECDH } from 'node:crypto';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { times } from '../support/full';
import { documentOf } from '../support/list-document';
import { describeWithRedis, startRedis } from '../support/redis';
import { useMachines } from './amesh';

const createMachine = useMachines();

const AT_ONCE = 10;
const EACH = times(5, 15, 50);

const randomKey = () => createECDH('prime256v1').generateKeys('base64url', 'compressed');

/** Ten processes at a time: half of them add a device, and half of them revoke another. */
async function expectEveryChange(env: Record<string, string>): Promise<void> {
  const machine = await createMachine();
  await createIdentity(machine.dir, env, { friendlyName: 'api' });
  const { trust } = await openDevice(machine.dir, env);
  await trust.update(async (list) => {
    for (let i = 0; i < EACH; i++) {
      const id = { deviceId: `am_${String(i).padStart(16, '0')}`, publicKey: randomKey() };
      await addDevice(list, { ...id, friendlyName: `old-${i}`, role: 'controller', hosts: [] }, 0);
    }
  });
  const commands = Array.from({ length: EACH }, (_, i) => [
    ['trust', 'add', '--role', 'controller', '--json', `amesh-p256 ${randomKey()} new-${i}`],
    ['revoke', '--yes', '--json', `old-${i}`],
  ]).flat();
  const changed: string[] = [];
  const failed: string[] = [];
  const work = async () => {
    for (let args = commands.shift(); args !== undefined; args = commands.shift()) {
      const { code, stdout } = await machine.amesh(args, { env, isProcess: true });
      const name = (args.at(-1) as string).split(' ').at(-1) as string;
      if (code === 0) changed.push(name);
      else failed.push(`${name} ${stdout}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));

  const names = (await documentOf(trust)).devices.map(({ friendlyName }) => friendlyName);
  expect(names).toEqual(expect.arrayContaining(changed.filter((name) => name.startsWith('new-'))));
  expect(names.filter((name) => name.startsWith('old-') && changed.includes(name))).toEqual([]);
  for (const each of failed) expect(each).toMatch(/"code":"store_(?:conflict|busy)"/); // and says so
  expect(failed.length).toBeLessThan(10);
}

describe(`${2 * EACH} amesh commands, 10 at a time`, () => {
  it('on one folder: each change that has returned 0 is in the list', () => expectEveryChange({}), 180_000);
});

describeWithRedis(`${2 * EACH} amesh commands, 10 at a time`, () => {
  it('on one Redis: each change that has returned 0 is in the list', async () => {
    const redis = await startRedis();
    try {
      await expectEveryChange({ AMESH_STORE_URL: redis.url });
    } finally {
      await redis.stop();
    }
  }, 180_000);
});
