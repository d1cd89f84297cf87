import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { openDevice } from '@authmesh/sdk/admin';
import { createClient, delegatedSigner } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterEach, describe, expect, it } from 'vitest';
import { type Rotation, readRotation, signRotation } from '../../src/core/rotation/rotation';
import { proposeSuccessor } from '../../src/trust/rotation/successor';
import { listen } from '../support/listen';
import { newKey } from '../support/rotating';
import { type Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();
const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

const LEND = ['delegate', '--name', 'job', '--scope', 'orders:read'];
const LEND_TO_BOTH = [...LEND, '--target', 'orders', '--target', 'billing'];
const lineOf = async (machine: Machine) => (await machine.amesh(['trust', 'export'])).stdout.trim();

/** A target that serves, and lets a machine call it. */
async function serve(machine: Machine, name: string, acceptRotation: 'admin' | 'auto' | false) {
  const target = await createMachine(name);
  const verify = createAmesh({ dir: target.dir, env: {}, acceptRotation, onRefusal() {} }).verify({
    require: 'orders:read',
  });
  const { origin, authority, close } = await listen((request, response) =>
    verify(request as never, response as never, () => response.end('ok')),
  );
  open.push(close);
  const own = ['--role', 'controller', '--scope', 'orders:read', await lineOf(machine)];
  await target.amesh(['trust', 'add', ...own, '--yes']);
  const known = ['--role', 'target', '--host', authority, await lineOf(target)];
  await machine.amesh(['trust', 'add', ...known, '--yes']);
  const { deviceId } = (await openDevice(target.dir, {})).identity;
  return { target, origin, deviceId };
}

/** The state of targets as if they had answered some time ago. */
async function note({ dir }: Machine, states: Record<string, string>): Promise<void> {
  const path = join(dir, 'rotation.json');
  const file = JSON.parse(await readFile(path, 'utf8'));
  for (const [id, state] of Object.entries(states))
    file.targets[id] = { ...file.targets[id], state, isProven: true, at: 1_764_000_000 };
  await writeFile(path, JSON.stringify(file));
}

/** The rotation as an interrupted withdrawal leaves it: marked, but the identity still has the next key. */
async function mark({ dir }: Machine): Promise<void> {
  const path = join(dir, 'rotation.json');
  const file = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...file, withdrawnAt: file.startedAt }));
}

async function use(secret: string, url: string): Promise<number> {
  const signer = await delegatedSigner(secret.trim());
  return (await createClient({ signer }).fetch(url)).status;
}

describe('amesh delegate, for a target that also calls the machine, and has replaced its key', () => {
  it.each(['name', 'former ID', 'next ID'])('finds it by its %s', async (how) => {
    const [machine, target] = [await createMachine('laptop'), await createMachine('orders')];
    const line = await lineOf(target);
    await machine.amesh(['trust', 'add', '--role', 'target', '--host', 'orders:3000', line, '--yes']);
    await machine.amesh(['trust', 'add', '--role', 'controller', line, '--yes']);
    const { signer: former, identity } = await openDevice(target.dir, {});
    const next = await newKey();
    const { trust, identity: own } = await openDevice(machine.dir, {});
    const nowMs = Date.now();
    const text = await signRotation({ former, next, targetId: own.deviceId, nowMs });
    const rotation = (await readRotation(text, nodeCrypto)) as Rotation;
    const policy = {
      accept: 'auto',
      isWorkingKey: () => false,
      nowSeconds: Math.floor(nowMs / 1000),
    } as const;
    await trust.update((draft) => proposeSuccessor(draft, rotation, policy));
    const words = { name: 'orders', 'former ID': identity.deviceId, 'next ID': next.deviceId };
    const ran = await machine.amesh([...LEND, '--target', words[how as keyof typeof words]]);
    expect(ran).toMatchObject({ code: 0 });
    expect((await delegatedSigner(ran.stdout.trim())).delegation.targets).toEqual([identity.deviceId]);
  });
});

describe('amesh delegate, while the key of the machine is replaced', () => {
  it.each([
    ['untold', 'auto', false],
    ['waiting', 'admin', true],
    ['refused', false, true],
  ] as const)('lends to a target that is %s what the former key signs', async (state, accept, isTold) => {
    const machine = await createMachine('laptop');
    const { origin, deviceId } = await serve(machine, 'orders', accept);
    const { formerId } = objectOf(await machine.amesh(['rotate', ...(isTold ? [origin] : []), '--json']));
    const { targets } = objectOf(await machine.amesh(['rotate', '--json'])) as { targets: object[] };
    expect(targets).toMatchObject([{ deviceId, state }]);
    const { code, stdout } = await machine.amesh([...LEND, '--target', 'orders']);
    expect([code, await use(stdout, origin)]).toEqual([0, 200]);
    expect((await delegatedSigner(stdout.trim())).delegation.deviceId).toBe(formerId);
  });

  it('lends to a target that has accepted the next key, or was paired since, what the next key signs', async () => {
    const machine = await createMachine('laptop');
    const first = await serve(machine, 'orders', 'auto');
    const { nextId } = objectOf(await machine.amesh(['rotate', first.origin, '--json']));
    await note(machine, { [first.deviceId]: 'accepted' });
    const since = await serve(machine, 'billing', 'auto');
    const { code, stdout } = await machine.amesh(LEND_TO_BOTH);
    expect(code).toBe(0);
    expect((await delegatedSigner(stdout.trim())).delegation.deviceId).toBe(nextId);
    for (const { origin } of [first, since]) expect(await use(stdout, origin)).toBe(200);
  });

  it('refuses one delegation for targets that know different keys, and says what to do', async () => {
    const machine = await createMachine('laptop');
    const [one, other] = [
      await serve(machine, 'orders', 'auto'),
      await serve(machine, 'billing', 'auto'),
    ] as const;
    await machine.amesh(['rotate']);
    await note(machine, { [one.deviceId]: 'accepted', [other.deviceId]: 'waiting' });
    const { code, stdout, stderr } = await machine.amesh(LEND_TO_BOTH);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(
      `"billing" (${other.deviceId}) has not accepted the next key of this machine, and`,
    );
    expect(stderr).toContain('Make a delegation for each');
    for (const name of ['orders', 'billing'])
      expect((await machine.amesh([...LEND, '--target', name])).code).toBe(0);
  });

  it('signs with the former key after the rotation was withdrawn', async () => {
    const machine = await createMachine('laptop');
    const { origin } = await serve(machine, 'orders', 'auto');
    const { formerId } = objectOf(await machine.amesh(['rotate', origin, '--json']));
    await machine.amesh(['rotate', 'withdraw', '--yes']);
    const { stdout } = await machine.amesh([...LEND, '--target', 'orders']);
    expect((await delegatedSigner(stdout.trim())).delegation.deviceId).toBe(formerId);
  });

  it('signs with the former key while the rotation is withdrawn: the next one ends with the next request', async () => {
    const machine = await createMachine('laptop');
    const { origin, deviceId } = await serve(machine, 'orders', 'auto');
    const { formerId } = objectOf(await machine.amesh(['rotate', origin, '--json']));
    await note(machine, { [deviceId]: 'accepted' });
    await mark(machine);
    const { stdout } = await machine.amesh([...LEND, '--target', 'orders']);
    expect((await delegatedSigner(stdout.trim())).delegation.deviceId).toBe(formerId);
    expect((await createAmesh({ dir: machine.dir, env: {} }).fetch(origin)).status).toBe(200); // withdraws the next key
    expect(await use(stdout, origin)).toBe(200);
  });

  it('refuses one delegation while the rotation is withdrawn, if one target was paired since it began', async () => {
    const machine = await createMachine('laptop');
    const one = await serve(machine, 'orders', 'auto');
    const { nextId } = objectOf(await machine.amesh(['rotate', one.origin, '--json']));
    await note(machine, { [one.deviceId]: 'accepted' });
    const since = await serve(machine, 'billing', 'auto');
    await mark(machine);
    const { code, stdout, stderr } = await machine.amesh(LEND_TO_BOTH);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(`"billing" (${since.deviceId}) was paired with the next key of this machine`);
    expect(stderr).toContain('amesh rotate withdraw');
    const lent = await machine.amesh([...LEND, '--target', 'billing']);
    expect((await delegatedSigner(lent.stdout.trim())).delegation.deviceId).toBe(nextId);
  });

  it('names a key to withdraw with the former key while the rotation is withdrawn', async () => {
    const machine = await createMachine('laptop');
    const { origin, deviceId } = await serve(machine, 'orders', 'auto');
    const { nextId } = objectOf(await machine.amesh(['rotate', origin, '--json']));
    await note(machine, { [deviceId]: 'accepted' });
    await mark(machine);
    const { code, stderr } = await machine.amesh(['rotate', 'withdraw', '--next', String(nextId), origin]);
    expect([code, stderr]).toEqual([0, expect.stringContaining(`✓ ${origin}/: withdrawn.`)]);
  });
});
