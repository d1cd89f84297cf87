import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Script, toScript } from '../support/child';
import { times } from '../support/full';
import { documentOf } from '../support/list-document';
import { describeWithRedis, startRedis } from '../support/redis';

const PROCESSES = times(4, 6, 10);
const CHANGES = 10 * PROCESSES;

let administrator: Script;
beforeAll(async () => {
  administrator = await toScript('test/storage/processes/administrator.ts');
});
afterAll(() => administrator.remove());

/** Processes with ten changes each, all at once. */
async function expectEveryChange(env: Record<string, string>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  await createIdentity(dir, env, { friendlyName: 'api' });
  const { trust } = await openDevice(dir, env);
  const ids = Array.from({ length: 5 * PROCESSES }, () => `am_${randomBytes(12).toString('base64url')}`);
  await trust.update(async (list) => {
    for (const [i, deviceId] of ids.entries()) {
      const publicKey = Buffer.concat([Uint8Array.of(2), randomBytes(32)]).toString('base64url');
      const device = {
        deviceId,
        publicKey,
        friendlyName: `old-${i}`,
        role: 'controller',
        hosts: [],
      } as const;
      await addDevice(list, device, 0);
    }
  });
  const all = Array.from({ length: PROCESSES }, (_, i) =>
    administrator.start([dir, `process-${i}`, ids.slice(5 * i, 5 * i + 5).join(',')], { env }),
  );
  for (const each of all) expect(await each.ended, each.stderr()).toMatchObject({ code: 0 });

  const said = all.flatMap(({ lines }) => lines);
  const { devices, tombstones } = await documentOf(trust);
  const names = devices.map(({ friendlyName }) => `added ${friendlyName}`);
  const revoked = tombstones.map(({ deviceId }) => `revoked ${deviceId}`);
  expect(said.length).toBeGreaterThan(0.9 * CHANGES); // one may give up, and says so
  for (const line of said) expect([...names, ...revoked]).toContain(line);
  for (const { deviceId } of tombstones) {
    expect(devices.map((device) => device.deviceId)).not.toContain(deviceId);
  }
  await rm(dir, { recursive: true, maxRetries: 20 });
}

describe(`${CHANGES} changes of ${PROCESSES} concurrent processes`, () => {
  it('on one folder: each that has returned is in the list', () => expectEveryChange({}));
});

describeWithRedis(`${CHANGES} changes of ${PROCESSES} concurrent processes`, () => {
  it('on one Redis: each that has returned is in the list', async () => {
    const redis = await startRedis();
    await expectEveryChange({ AMESH_STORE_URL: redis.url });
    await redis.stop();
  });
});
