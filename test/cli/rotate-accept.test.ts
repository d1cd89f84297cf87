import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addDevice, openDevice } from '@authmesh/sdk/admin';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it } from 'vitest';
import { toBase64Url } from '../../src/core/encoding';
import { readRotation, signRotation } from '../../src/core/rotation/rotation';
import { proposeSuccessor } from '../../src/trust/rotation/successor';
import { type Key, newKey } from '../support/rotating';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();
const now = () => Math.floor(Date.now() / 1000);

/** A machine that `laptop` may call, which asks to replace its key. */
async function createTarget(accept: 'admin' | 'auto' = 'admin') {
  const machine = await createMachine('prod-api');
  const { trust, identity } = await openDevice(machine.dir, {});
  const [former, next] = [await newKey(), await newKey()];
  const add = (key: Key, friendlyName: string) =>
    trust.update((draft) =>
      addDevice(
        draft,
        {
          deviceId: key.deviceId,
          publicKey: toBase64Url(key.publicKey),
          friendlyName,
          role: 'controller',
          hosts: [],
          scopes: ['orders:read'],
        },
        now(),
      ),
    );
  const propose = async (from: Key, to: Key, how: typeof accept = accept) => {
    const targetId = identity.deviceId;
    const text = await signRotation({ former: from, next: to, targetId, nowMs: Date.now() });
    const rotation = await readRotation(text, nodeCrypto);
    if (rotation === null) throw new Error('no rotation');
    return trust.update((draft) =>
      proposeSuccessor(draft, rotation, { accept: how, isWorkingKey: () => false, nowSeconds: now() }),
    );
  };
  await add(former, 'laptop');
  await propose(former, next);
  return { machine, trust, former, next, add, propose };
}

describe('amesh rotate accept', () => {
  it('lets the next key replace the former one', async () => {
    const { machine, former, next } = await createTarget();
    const ran = await machine.amesh(['rotate', 'accept', 'laptop', '--yes']);
    expect(ran).toMatchObject({ code: 0, stdout: '' });
    expect(ran.stderr).toContain(`✓ "laptop" is ${next.deviceId} now, with the rights that it had.`);
    expect(ran.stderr).toMatch(
      new RegExp(
        `The former key ${former.deviceId} counts until 20.* UTC, and can take this back until then`,
      ),
    );
    expect(ran.stderr).toContain(`amesh revoke ${former.deviceId}`);
    const { devices } = await machine.allowList();
    expect(devices.find(({ deviceId }) => deviceId === next.deviceId)).toMatchObject({
      friendlyName: 'laptop',
      roles: ['controller'],
      scopes: ['orders:read'],
      was: [former.deviceId],
    });
  });

  it('asks first', async () => {
    const { machine, next } = await createTarget();
    const { code, stderr } = await machine.amesh(['rotate', 'accept', 'laptop']);
    expect(code).not.toBe(0);
    expect(stderr).toContain('This command asks for confirmation');
    const { devices } = await machine.allowList();
    expect(devices.find(({ deviceId }) => deviceId === next.deviceId)).toMatchObject({ pending: true });
  });

  it.each(['name', 'former', 'next'] as const)('takes the %s', async (which) => {
    const { machine, former, next } = await createTarget();
    const device = { name: 'laptop', former: former.deviceId, next: next.deviceId }[which];
    expect(objectOf(await machine.amesh(['rotate', 'accept', device, '--yes', '--json']))).toEqual({
      ok: true,
      deviceId: next.deviceId,
      friendlyName: 'laptop',
      formerIds: [former.deviceId],
      formerUntil: expect.any(Number),
    });
  });

  it('says that nothing waits', async () => {
    const { machine, former } = await createTarget('auto');
    const ran = await machine.amesh(['rotate', 'accept', former.deviceId, '--yes', '--json']);
    expect(objectOf(ran)).toMatchObject({ ok: false, error: { code: 'no_rotation' } });
    expect(ran.code).not.toBe(0);
    const unknown = await machine.amesh(['rotate', 'accept', 'nobody', '--yes', '--json']);
    expect(objectOf(unknown)).toMatchObject({ ok: false, error: { code: 'unknown_name' } });
  });
});

describe('amesh rotate refuse', () => {
  it('leaves the device as it is', async () => {
    const { machine, former, next } = await createTarget();
    const ran = await machine.amesh(['rotate', 'refuse', 'laptop', '--yes']);
    expect(ran.stderr).toContain(
      `✓ ${next.deviceId} is refused. "laptop" stays ${former.deviceId}.\n  If its owner did not ask`,
    );
    const { devices } = await machine.allowList();
    expect(devices.map(({ deviceId }) => deviceId)).toEqual([former.deviceId]);
    expect(devices[0]).toMatchObject({ roles: ['controller'], next: next.deviceId }); // it answers the owner's withdrawal
    expect(devices[0]).not.toHaveProperty('retiresAt');
    expect(objectOf(await machine.amesh(['rotate', 'refuse', 'laptop', '--yes', '--json']))).toMatchObject({
      ok: false,
      error: { code: 'no_rotation' },
    });
  });

  it('gives the IDs with --json', async () => {
    const { machine, former, next } = await createTarget();
    expect(objectOf(await machine.amesh(['rotate', 'refuse', 'laptop', '--yes', '--json']))).toEqual({
      ok: true,
      deviceId: former.deviceId,
      friendlyName: 'laptop',
      refused: next.deviceId,
    });
  });
});

describe('a next key that waits', () => {
  it('is shown by list, status and doctor, with the command', async () => {
    const { machine, former, next } = await createTarget();
    await writeFile(join(machine.dir, 'last_seen.txt'), `since 1\n${former.deviceId} 1764000000\n`);
    const list = await machine.amesh(['list']);
    // Only the former key has been seen. The administrator must not think that the next one was.
    const seen = list.stdout.split('\n').filter((line) => line.includes('2025-11-24 16:00 UTC'));
    expect(seen.map((line) => line.includes(next.deviceId) && line.includes('waits'))).toEqual([false]);
    expect(list.stdout).toMatch(new RegExp(`laptop +${next.deviceId} +waits to replace ${former.deviceId}`));
    expect(list.stderr).toContain(
      `! "laptop" (${former.deviceId}) asks to replace its key with ${next.deviceId}.`,
    );
    expect(list.stderr).toContain(machine.here('amesh rotate accept laptop'));
    expect(list.stderr).toContain(machine.here('amesh rotate refuse laptop'));
    const status = await machine.amesh(['status']);
    expect(status.stdout).toContain(`${former.deviceId} asks to be replaced by ${next.deviceId}`);
    expect(status.stdout).toContain('the next key of "laptop" waits for you');
    expect(status.stdout.match(/may call me +laptop/)).not.toBeNull();
    expect(objectOf(await machine.amesh(['status', '--json']))).toMatchObject({
      rotations: [
        {
          state: 'waiting',
          friendlyName: 'laptop',
          formerId: former.deviceId,
          nextId: next.deviceId,
          formerUntil: null,
        },
      ],
      due: [{ kind: 'rotation', name: 'laptop', at: null }],
    });
    const doctor = await machine.amesh(['doctor']);
    expect(doctor.stdout).toContain(`asks to replace its key with ${next.deviceId}, and waits for you.`);
    expect(doctor.stdout + doctor.stderr).toContain(`amesh rotate accept ${next.deviceId}`);
  });

  it('may not call, and does not count as a device with the same name', async () => {
    const { machine, next } = await createTarget();
    expect((await machine.amesh(['can', 'laptop', 'orders:read'])).code).toBe(0);
    const renamed = await machine.amesh(['rename', 'laptop', 'notebook']);
    expect(renamed.code).toBe(0);
    expect(renamed.stderr).not.toContain('already');
    const accepted = objectOf(await machine.amesh(['rotate', 'accept', 'notebook', '--yes', '--json']));
    expect(accepted).toMatchObject({ deviceId: next.deviceId, friendlyName: 'notebook' });
  });
});

describe('a device whose next key was accepted', () => {
  it('was last seen when its former key called, and does not count as unused', async () => {
    const { machine, trust, former, next } = await createTarget();
    const seenAt = now() - 3600;
    await trust.update(async (draft) => {
      const device = await draft.device(former.deviceId);
      if (device !== undefined) await draft.put({ ...device, addedAt: now() - 900 * 86_400 });
    });
    await trust.lastSeen.add(new Map([[former.deviceId, seenAt]]), await trust.read());
    await machine.amesh(['rotate', 'accept', 'laptop', '--yes']);
    for (const [command, member] of [
      ['list', 'devices'],
      ['status', 'controllers'],
    ] as const) {
      const shown = objectOf(await machine.amesh([command, '--json'])) as Record<string, object[]>;
      expect(shown[member]).toContainEqual(
        expect.objectContaining({ deviceId: next.deviceId, lastSeenAt: seenAt }),
      );
    }
    const unused = await machine.amesh(['revoke', '--unused', '30d', '--yes', '--json']);
    expect(objectOf(unused)).toMatchObject({ ok: true, revoked: [] });
  });
});

describe('a former key that is still valid', () => {
  it('is shown by list and status, with its end', async () => {
    const { machine, former, next } = await createTarget('auto');
    const { stdout } = await machine.amesh(['list']);
    expect(stdout).toMatch(
      new RegExp(`laptop +${former.deviceId} +replaced by ${next.deviceId}, ends 20\\S+ \\S+ UTC`),
    );
    const status = await machine.amesh(['status']);
    expect(status.stdout).toMatch(
      new RegExp(`${former.deviceId} is replaced by ${next.deviceId}, and ends 20`),
    );
    const shown = objectOf(await machine.amesh(['status', '--json'])) as { controllers: object[] };
    expect(shown).toMatchObject({
      rotations: [{ state: 'accepted', formerId: former.deviceId, formerUntil: expect.any(Number) }],
      due: [],
    });
    expect(shown.controllers).toHaveLength(1);
  });
});

describe('each command that takes a device', () => {
  it('accepts any ID that the device has had', async () => {
    const { machine, former, next, propose, trust } = await createTarget('auto');
    const last = await newKey();
    await propose(next, last);
    const ids = [former, next, last].map(({ deviceId }) => deviceId);
    for (const [i, id] of ids.entries()) {
      const run = async (...args: string[]) => objectOf(await machine.amesh([...args, '--json', '--yes']));
      expect(await run('can', id, 'orders:read')).toMatchObject({ device: { deviceId: last.deviceId } });
      expect(await run('allow', id, `orders:${i}`)).toMatchObject({ device: { deviceId: last.deviceId } });
      expect(await run('deny', id, `orders:${i}`)).toMatchObject({ device: { deviceId: last.deviceId } });
      expect(await run('keys', 'cut', id)).toMatchObject({ deviceId: last.deviceId });
      expect(await run('rename', id, `laptop-${i}`)).toMatchObject({ deviceId: last.deviceId });
    }
    const [id = ''] = ids;
    expect(objectOf(await machine.amesh(['revoke', id, '--yes', '--json']))).toMatchObject({
      ok: true,
      revoked: [{ deviceId: last.deviceId }],
    });
    expect((await machine.allowList()).devices).toEqual([]);
    const revoked = await trust.preview(async (draft) =>
      Promise.all(ids.map(async (each) => (await draft.tombstone(each)) !== undefined)),
    );
    expect(revoked).toEqual([true, true, true]);
  });
});

describe('a key that named two next keys', () => {
  it('is shown by list and status, with its name', async () => {
    const { machine, former, next, propose } = await createTarget();
    await propose(former, await newKey());
    const list = await machine.amesh(['list']);
    const text = new RegExp(
      `"laptop" \\(${former.deviceId}\\) was revoked 20.* UTC: its key has named two next keys, so two parties have it`,
    );
    expect(list.stderr).toMatch(text);
    expect(list.stderr).toContain('pair the device again, with a new key');
    expect((await machine.amesh(['status'])).stdout).toMatch(text);
    for (const command of ['list', 'status'])
      expect(objectOf(await machine.amesh([command, '--json']))).toMatchObject({
        conflicts: [{ deviceId: former.deviceId, conflict: 'laptop', revokedAt: expect.any(Number) }],
      });
    expect((await machine.allowList()).devices).toEqual([]);
    expect(list.stdout).not.toContain(next.deviceId);
  });
});
