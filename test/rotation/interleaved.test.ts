import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  addDevice,
  createIdentity,
  type Device,
  finishRotation,
  openDevice,
  readIdentity,
  readRotationFile,
  rotateKey,
  tellTargets,
  withdrawRotation,
} from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { beforeLock } from '../support/before-lock';
import { newDevice } from '../support/list-document';
import { meet, noteOf, type Target } from './targets';

/** Two commands on one machine: the second one runs while the first waits for a target. */
let dir = '';
let caller: Device;
let target: Target;
let close: () => Promise<void>;

beforeEach(async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  ({ dir, caller, target, close } = await meet());
});
afterEach(async () => {
  vi.restoreAllMocks();
  await close();
});

const open = () => openDevice(dir, {});
const urls = () => [new URL(target.url)];
const keys = async () => (await readdir(join(dir, 'keys'))).map((name) => `keys/${name}`);
const rotation = () => readRotationFile(caller.store);
const identity = () => readIdentity(caller.store);

/** A network on which something else happens before the answer of a target arrives. */
function during(what: () => Promise<unknown>): typeof fetch {
  return async (...request) => {
    const response = await fetch(...request);
    await what();
    return response;
  };
}

/** A rotation that the target has accepted, so that it can be finished. */
async function accepted() {
  const { rotation: begun } = await rotateKey(dir, {});
  await target.know(begun.next);
  target.answer = 'accepted';
  await tellTargets(await open(), begun, 'rotate', urls(), {});
  return begun;
}

/** The machine has the key that its identity names, and that key can change its list. */
async function expectWhole(deviceId: string): Promise<void> {
  const device = await open();
  expect(device.identity.deviceId).toBe(deviceId);
  expect(await keys()).toContain(device.identity.key.ref);
  const peer = { ...newDevice(), friendlyName: 'peer', role: 'controller', hosts: [] } as const;
  await device.trust.update((draft) => addDevice(draft, peer, 0));
}

describe('a rotation that is finished while another command changes it', () => {
  it('keeps the former key if the rotation is withdrawn meanwhile, and a target does not know that yet', async () => {
    const { former } = await accepted();
    const finishing = finishRotation(
      await open(),
      {},
      {
        urls: urls(),
        fetch: during(async () => withdrawRotation(await open(), {})),
      },
    );
    await expect(finishing).rejects.toMatchObject({
      code: 'rotation_final',
      detail: 'The rotation of this machine is being withdrawn.',
    });
    expect(await rotation()).toMatchObject({ withdrawnAt: expect.any(Number) });
    await expectWhole(former.deviceId);
  });

  it('keeps the former key if the withdrawal is complete', async () => {
    const { former } = await accepted();
    const finishing = finishRotation(
      await open(),
      {},
      {
        urls: urls(),
        fetch: during(async () => withdrawRotation(await open(), {}, { force: true })),
      },
    );
    await expect(finishing).rejects.toMatchObject({ code: 'not_rotating' });
    expect(await rotation()).toBeNull();
    await expectWhole(former.deviceId);
  });

  it('keeps the former key if a target does not accept the next one any more; --force gives that target up', async () => {
    const { former, next } = await accepted();
    const forgets = during(() => noteOf(dir, target, { state: 'untold', isProven: false }));
    const how = { urls: urls(), fetch: forgets };
    await expect(finishRotation(await open(), {}, how)).rejects.toMatchObject({
      code: 'rotation_unfinished',
    });
    expect(await keys()).toContain(former.key.ref);
    await noteOf(dir, target, { state: 'accepted', isProven: true });
    const finished = await finishRotation(await open(), {}, { ...how, force: true });
    expect(finished.left).toEqual([target.device.identity.deviceId]);
    expect(await keys()).toEqual([next.key.ref]);
  });

  it('is over if the other command has finished it, too, even if the next rotation has begun', async () => {
    const { next } = await accepted();
    const finished = await finishRotation(
      await open(),
      {},
      {
        urls: urls(),
        fetch: during(async () => finishRotation(await open(), {})),
      },
    );
    expect(finished).toMatchObject({ rotation: { next: { deviceId: next.deviceId } }, left: [] });
    await expectWhole(next.deviceId);
  });

  it('ends only the rotation that it began with', async () => {
    const { next } = await accepted();
    await finishRotation(
      await open(),
      {},
      {
        urls: urls(),
        fetch: during(async () => {
          await finishRotation(await open(), {});
          await rotateKey(dir, {});
        }),
      },
    );
    expect(await rotation()).toMatchObject({ former: { deviceId: next.deviceId } });
    expect(await keys()).toContain(next.key.ref);
  });

  it('removes no key of an identity that replaces the machine meanwhile', async () => {
    await accepted();
    const finishing = finishRotation(
      await open(),
      {},
      {
        urls: urls(),
        fetch: during(() => createIdentity(dir, {}, { friendlyName: 'other', force: true })),
      },
    );
    await expect(finishing).rejects.toMatchObject({ code: 'not_rotating' });
    await expectWhole((await identity())?.deviceId as string);
  });
});

describe('a rotation that is withdrawn while another command changes it', () => {
  it('is the one that the command began with, and not the next one', async () => {
    await rotateKey(dir, {});
    const again = async () => {
      await withdrawRotation(await open(), {}, { force: true });
      await rotateKey(dir, {});
    };
    const withdrawing = withdrawRotation(await open(), {}, { urls: urls(), fetch: during(again) });
    await expect(withdrawing).rejects.toMatchObject({ code: 'store_conflict' });
    const next = await rotation();
    expect(next?.withdrawnAt).toBeUndefined();
    await expectWhole(next?.next.deviceId as string);
  });

  it('is not marked as withdrawn if it began after the command had looked', async () => {
    await accepted();
    const device = await open();
    beforeLock(async () => {
      await finishRotation(await open(), {});
      await rotateKey(dir, {});
    });
    await expect(withdrawRotation(device, {})).rejects.toMatchObject({ code: 'store_conflict' });
    const next = await rotation();
    expect(next?.withdrawnAt).toBeUndefined();
    await expectWhole(next?.next.deviceId as string);
  });

  it('is not marked as withdrawn if a command that finishes it was killed after it had removed the former key', async () => {
    const { former, next } = await accepted();
    await rm(join(dir, former.key.ref));
    await expect(withdrawRotation(await open(), {})).rejects.toMatchObject({
      code: 'identity_unreadable',
    });
    await finishRotation(await open(), {});
    expect(await rotation()).toBeNull();
    await expectWhole(next.deviceId);
  });

  it('stays if its next key seals the list of other instances meanwhile', async () => {
    const { publicKey } = caller.identity;
    const waiting = await rotateKey(dir, { AMESH_OWNER_KEY: publicKey });
    expect(waiting.isSwapped).toBe(false);
    const env = { AMESH_OWNER_KEY: waiting.waitsForOwners as string };
    const device = await openDevice(dir, env);
    beforeLock(() => rotateKey(dir, env, { haveInstancesBoth: async () => true }));
    await expect(withdrawRotation(device, env)).rejects.toMatchObject({ code: 'rotation_final' });
    expect((await rotation())?.withdrawnAt).toBeUndefined();
    expect((await (await openDevice(dir, env)).trust.readHead()).owner).toBe(waiting.rotation.next.publicKey);
  });

  it('is complete if another command has withdrawn it, too', async () => {
    const { rotation: begun } = await rotateKey(dir, {});
    const withdrawn = await withdrawRotation(
      await open(),
      {},
      {
        urls: urls(),
        fetch: during(async () => withdrawRotation(await open(), {}, { force: true })),
      },
    );
    expect(withdrawn).toMatchObject({ identity: { deviceId: begun.former.deviceId }, left: [] });
    expect(await keys()).toEqual([begun.former.key.ref]);
    await expectWhole(begun.former.deviceId);
  });
});
