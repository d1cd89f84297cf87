import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import {
  createIdentity,
  type Device,
  FileStore,
  finishRotation,
  issuedAtOf,
  type OwnRotation,
  openDevice,
  readRotationFile,
  rotateKey,
  tellTargets,
  withdrawRotation,
} from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveDevice } from '../../src/machine/rotation/live-device';
import { openFormer, openKey, reopenTrust } from '../../src/machine/setup/open-device';
import { meet, noteOf, type Target } from './targets';

const DAY_MS = 86_400_000;

/** A machine whose key is replaced, and what its folder and its clock do meanwhile. */
let dir = '';
let caller: Device;
let target: Target;
let close: () => Promise<void>;
let logged: string[];

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  logged = [];
  vi.spyOn(console, 'warn').mockImplementation((line) => void logged.push(String(line)));
  ({ dir, caller, target, close } = await meet());
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await close();
});

const open = () => openDevice(dir, {});
const url = () => [new URL(target.url)];
const rotation = async () => (await readRotationFile(caller.store)) as OwnRotation;
const told = async () => (await rotation()).targets[target.device.identity.deviceId];

describe('a running process', () => {
  it('continues with the former key if it cannot open the next one, and says so', async () => {
    const amesh = createAmesh({ dir, env: {} });
    expect((await amesh.fetch(target.url)).status).toBe(200);
    const { rotation: begun } = await rotateKey(dir, {});
    const path = join(dir, begun.next.key.ref);
    const pem = await readFile(path);
    await rm(path);
    await expect
      .poll(async () => [(await amesh.fetch(target.url)).status, logged.join('\n')])
      .toEqual([200, expect.stringContaining('cannot use the next key')]);
    expect(logged.filter((line) => line.includes('cannot use the next key'))).toHaveLength(1);
    expect(target.received.every(({ signedBy }) => signedBy === begun.former.deviceId)).toBe(true);
    expect(target.received.some(({ rotation: text }) => text !== undefined)).toBe(false);
    // So does one that begins then.
    const restarted = createAmesh({ dir, env: {} });
    expect((await restarted.fetch(target.url)).status).toBe(200);
    expect(target.received.at(-1)?.signedBy).toBe(begun.former.deviceId);
    await writeFile(path, pem, { mode: 0o600 });
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 60_000);
    for (const one of [amesh, restarted])
      await expect.poll(async () => (await one.identity()).deviceId).toBe(begun.next.deviceId);
    expect((await createAmesh({ dir, env: {} }).identity()).deviceId).toBe(begun.next.deviceId);
  });

  it('that started without the former key survives a change of rotation.json, and uses the key once it is back', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on('unhandledRejection', note);
    const { rotation: begun } = await rotateKey(dir, {});
    const path = join(dir, begun.former.key.ref);
    const pem = await readFile(path);
    await rm(path);
    const amesh = createAmesh({ dir, env: {}, answers: 'off', onRefusal: () => {} });
    const call = async () => [(await amesh.fetch(target.url)).status, target.received.at(-1)?.signedBy];
    expect(await call()).toEqual([401, begun.next.deviceId]);
    expect(logged.join('\n')).toContain('The former key of this machine cannot be used');
    for (const at of [1, 2]) {
      await noteOf(dir, target, { state: 'waiting', at });
      await new Promise((resolve) => setTimeout(resolve, 300));
      await amesh.identity(); // looks at the folder
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]); // it would end the process
    await writeFile(path, pem, { mode: 0o600 });
    expect(await call()).toEqual([200, begun.former.deviceId]);
  });

  it('opens the former key once, and not before a request needs it: the key may ask a person', async () => {
    await rotateKey(dir, {});
    const { store } = caller;
    const openedKeys = vi.fn((identity: Parameters<typeof openKey>[0]) => openKey(identity, store, {}));
    const live = new LiveDevice({
      store,
      open,
      openKey: openedKeys,
      openFormer: (replaced) => openFormer(store, replaced, {}, null),
      reopenTrust: (device) => reopenTrust(device, {}, null),
      tell: () => {},
    });
    const changed = async (at: number) => {
      await noteOf(dir, target, { state: 'waiting', at });
      return live.fresh();
    };
    await live.fresh();
    for (const at of [1, 2]) await changed(at);
    expect(openedKeys).not.toHaveBeenCalled();
    for (const at of [3, 4]) await (await changed(at)).former();
    expect(openedKeys).toHaveBeenCalledOnce();
  });

  it('remembers what targets say while its folder cannot be written, reports that once, and writes it later', async () => {
    const { rotation: begun, identity } = await rotateKey(dir, {});
    const swap = FileStore.prototype.swap;
    const readOnly = vi.spyOn(FileStore.prototype, 'swap').mockImplementation(function (
      this: FileStore,
      key,
      ...more
    ) {
      if (this.dir !== dir) return swap.call(this, key, ...more);
      return Promise.reject(new Error('EROFS: read-only file system'));
    });
    const amesh = createAmesh({ dir, env: {} });
    target.answer = 'accepted';
    await target.know(identity);
    expect((await amesh.fetch(target.url)).status).toBe(200);
    vi.setSystemTime(Date.now() + 6000);
    await expect
      .poll(async () => [(await amesh.fetch(target.url)).status, target.received.at(-1)?.signedBy])
      .toEqual([200, begun.next.deviceId]);
    await expect.poll(() => logged.filter((line) => line.includes('cannot be written'))).toHaveLength(1);
    readOnly.mockRestore();
    expect(await told()).toMatchObject({ state: 'untold' });
    // The disk was full, and is not any more.
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 60_000);
    expect((await amesh.fetch(target.url)).status).toBe(200);
    await expect.poll(told).toMatchObject({ state: 'accepted', isProven: true });
  });
});

describe('a target that is away for a month', () => {
  it('gets nothing that is too old, and the command makes a new statement, also for callers of this machine', async () => {
    await rotateKey(dir, {});
    const before = await told();
    const amesh = createAmesh({ dir, env: {} });
    vi.setSystemTime(Date.now() + 31 * DAY_MS);
    expect((await amesh.fetch(target.url)).status).toBe(200);
    expect(target.received.at(-1)?.rotation).toBeUndefined();

    const nowSeconds = Math.floor(Date.now() / 1000);
    expect(await rotateKey(dir, {})).toMatchObject({ isNew: false, isSwapped: false });
    const after = await told();
    expect(after?.statement).not.toBe(before?.statement);
    const { succession } = (await (await open()).trust.read()).head;
    for (const text of [after?.statement, succession])
      expect(issuedAtOf(text as string)).toBeGreaterThanOrEqual(nowSeconds);
    target.answer = 'waiting';
    await expect
      .poll(async () => [(await amesh.fetch(target.url)).status, target.received.at(-1)?.rotation])
      .toEqual([200, after?.statement]);
    const again = await rotateKey(dir, {});
    expect(again.rotation.targets[target.device.identity.deviceId]?.statement).toBe(after?.statement);
    expect((await (await open()).trust.read()).head.succession).toBe(succession);
  });
});

describe('a target that has cut the keys of a machine', () => {
  it('gets another statement, since it refuses the one from before', async () => {
    const { rotation: begun } = await rotateKey(dir, {});
    target.answer = 'refused';
    vi.setSystemTime(Date.now() + 5000);
    await tellTargets(await open(), begun, 'rotate', url(), {});
    expect(await told()).toMatchObject({ state: 'refused' });
    const { statement = '' } = (await told()) ?? {};
    await rotateKey(dir, {});
    const { statement: renewed = '' } = (await told()) ?? {};
    expect(issuedAtOf(renewed)).toBeGreaterThan(issuedAtOf(statement) as number);
    await rotateKey(dir, {});
    expect((await told())?.statement).toBe(renewed);
  });
});

/** A running server notes what a target says, right before a command writes or removes rotation.json. */
function noteBefore(method: 'swap' | 'remove', at: number) {
  const original = FileStore.prototype[method] as (...all: unknown[]) => Promise<boolean>;
  const spied = vi.spyOn(FileStore.prototype, method).mockImplementation(async function (
    this: FileStore,
    key: string,
    ...more: unknown[]
  ) {
    if (key === 'rotation.json') {
      spied.mockRestore();
      await noteOf(dir, target, { at });
    }
    return original.call(this, key, ...more);
  });
}

describe('a command while a running server notes what a target says', () => {
  const keys = () => readdir(join(dir, 'keys'));
  const takenBack = async () => {
    await rotateKey(dir, {});
    await withdrawRotation(await open(), {});
    await noteOf(dir, target, { state: 'withdrawn', isProven: true });
  };

  it('that begins a rotation says that the file has changed, and leaves no key behind', async () => {
    await takenBack();
    const before = await keys();
    noteBefore('swap', 7);
    await expect(rotateKey(dir, {})).rejects.toMatchObject({
      code: 'store_conflict',
      detail: `Another process changed ${join(dir, 'rotation.json')} at the same moment.`,
    });
    expect(await keys()).toEqual(before);
    expect((await rotateKey(dir, {})).isNew).toBe(true);
  });

  it('that ends a rotation leaves no rotation whose former key is gone', async () => {
    const { rotation: begun } = await rotateKey(dir, {});
    await noteOf(dir, target, { state: 'accepted', isProven: true });
    noteBefore('remove', 7);
    await finishRotation(await open(), {});
    expect(await keys()).toEqual([begun.next.key.ref.slice('keys/'.length)]);
    expect(await readRotationFile(caller.store)).toBeNull();
  });

  it('that takes a rotation back ends it if all targets know that', async () => {
    await takenBack();
    noteBefore('remove', 7);
    expect((await withdrawRotation(await open(), {})).left).toEqual([]);
    expect(await readRotationFile(caller.store)).toBeNull();
  });
});

describe('a rotation that is over', () => {
  it('tells targets that the former key ends, with that key itself', async () => {
    const { rotation: begun } = await rotateKey(dir, {});
    target.answer = 'accepted';
    await tellTargets(await open(), begun, 'rotate', url(), {});
    const { told: answers } = await finishRotation(await open(), {}, { urls: url() });
    expect(answers).toMatchObject([{ answer: 'accepted', isProven: true }]);
    expect(target.received.at(-1)).toMatchObject({
      signedBy: begun.former.deviceId,
      rotation: `retire=${begun.next.deviceId}`,
    });
  });

  it('leaves nothing to an identity that replaces this one', async () => {
    await rotateKey(dir, {});
    const { movedTo } = await createIdentity(dir, {}, { friendlyName: 'other', force: true });
    expect(await readdir(dir)).not.toContain('rotation.json');
    expect(await readdir(movedTo as string)).toContain('rotation.json');
  });
});
