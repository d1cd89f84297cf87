import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, type DeviceEntry, openDevice } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Fault } from '../../src/core/errors/fault';
import { authorize } from '../../src/core/verify/device';
import { EndWatch } from '../../src/machine/ends/end-watch';
import { renewLeases } from '../../src/trust/grants';
import { builtMain } from '../cli/amesh';
import { ensureBuilt } from '../support/built';
import { startInProcess } from '../support/in-process';
import { newDevice } from '../support/list-document';

const START = 1_764_000_000;
const DAY = 86_400;

/** A generator of numbers below a bound, always the same ones. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}

describe('a year of devices and leases that end', () => {
  let dir: string;
  beforeAll(async () => {
    await ensureBuilt();
    dir = join(await mkdtemp(join(tmpdir(), 'amesh-test-')), 'amesh');
    vi.useFakeTimers({ toFake: ['Date'], now: START * 1000 });
    await createIdentity(dir, {}, { friendlyName: 'api' });
  }, 180_000);
  afterAll(async () => {
    vi.useRealTimers();
    await rm(join(dir, '..'), { recursive: true, maxRetries: 20 });
  });

  async function amesh(...args: string[]): Promise<{ code: number }> {
    const hearing = { stdout: () => {}, stderr: () => {} };
    const env = { PATH: process.env.PATH, AUTH_MESH_DIR: dir };
    const running = startInProcess(await builtMain(), [...args, '--yes'], env, hearing);
    running.end();
    return { code: await running.ended };
  }

  it('cuts nobody off without the three warnings, and the commands always work', async () => {
    const { trust } = await openDevice(dir, {});
    const random = numbers(7);
    const grant = {
      id: 'g',
      publicKey: '',
      names: '*',
      uses: 99,
      used: 20,
      issuedAt: START,
      expiresAt: START + DAY,
    };
    await trust.update(async (draft) => {
      draft.change({ grants: [{ ...grant, leaseSeconds: 20 * DAY, maxLeaseSeconds: 180 * DAY }] });
      for (let i = 0; i < 20; i++) {
        const endsAt = START + 180 * DAY - random(9 * DAY);
        const lease = { grant: 'g', expiresAt: START + 20 * DAY, endsAt };
        await draft.put({ ...newDevice(undefined, `lease-${i}`), addedAt: START, lease });
        const expiresAt = START + (20 + random(330)) * DAY + random(DAY);
        await draft.put({ ...newDevice(undefined, `end-${i}`), addedAt: START, expiresAt });
      }
    });
    const told = new Map<string, Set<string>>();
    const note = (line: string) => {
      const days = /within (\d+) days?/.exec(line)?.[1] ?? '';
      for (const [id] of line.matchAll(/am_[\w-]{16}/g)) told.set(id, (told.get(id) ?? new Set()).add(days));
    };
    const watch = () => new EndWatch({ list: { current: () => trust.read() }, tell: note });
    let ends = watch();
    let cutOff = 0;
    const before = new Map<string, DeviceEntry>();
    for (let day = 0; day <= 366; day++) {
      const now = START + day * DAY;
      vi.setSystemTime(now * 1000);
      if (random(20) === 0) ends = watch(); // the server was restarted
      await ends.look();
      const list = await trust.read();
      const devices = [...list.devices()];
      const callers = devices.filter(
        ({ deviceId }) => !(authorize(list, deviceId, [], now * 1000) instanceof Fault),
      );
      for (const { deviceId } of callers) before.delete(deviceId);
      for (const { deviceId, friendlyName } of before.values()) {
        cutOff++;
        const days = [...(told.get(deviceId) ?? [])].sort();
        expect([friendlyName, days]).toEqual([friendlyName, ['1', '14', '7']]);
      }
      before.clear();
      for (const device of callers) before.set(device.deviceId, device);
      const leased = callers.filter(({ lease }) => lease !== undefined).map(({ deviceId }) => deviceId);
      if (day % 5 === 0) await trust.update((draft) => renewLeases(draft, new Set(leased), now));
      if (day % 60 !== 30) continue;
      for (const command of ['list', 'status', 'tokens', 'doctor'])
        expect([command, (await amesh(command)).code]).toEqual([command, 0]);
      const ended = devices.find(({ expiresAt = Number.POSITIVE_INFINITY }) => expiresAt < now);
      if (ended === undefined) continue;
      told.delete(ended.deviceId);
      expect((await amesh('allow', ended.deviceId, '--expires', '40d')).code).toBe(0);
      expect((await amesh('can', ended.deviceId)).code).toBe(0);
    }
    expect(cutOff).toBeGreaterThanOrEqual(40);
    expect((await amesh('revoke', '--all-controllers')).code).toBe(0);
  });
});
