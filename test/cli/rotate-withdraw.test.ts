import { cp } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { dirname, join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { type Device, openDevice } from '@authmesh/sdk/admin';
import { createClient, deviceIdOf, signRequest } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterEach, describe, expect, it } from 'vitest';
import { signRotation } from '../../src/core/rotation/rotation';
import { listen } from '../support/listen';
import { Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();
const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

const lineOf = async (machine: Machine) => (await machine.amesh(['trust', 'export'])).stdout.trim();

/** A machine, and a target that knows it and serves. */
async function meet(
  acceptRotation: 'admin' | 'auto',
  answerOf: (request: IncomingMessage) => string | undefined = () => undefined,
) {
  const [machine, target] = [await createMachine('laptop'), await createMachine('orders')];
  const verify = createAmesh({ dir: target.dir, env: {}, acceptRotation }).verify();
  const { origin, authority, close } = await listen((request, response) =>
    verify(request as never, response as never, () => {
      const answer = answerOf(request);
      if (answer !== undefined) response.setHeader('authmesh-rotation', answer);
      response.end('ok');
    }),
  );
  open.push(close);
  await target.amesh(['trust', 'add', '--role', 'controller', await lineOf(machine), '--yes']);
  const known = ['--role', 'target', '--host', authority, await lineOf(target)];
  await machine.amesh(['trust', 'add', ...known, '--yes']);
  const targetId = (await openDevice(target.dir, {})).identity.deviceId;
  const statusOf = async ({ signer }: Pick<Device, 'signer'>) =>
    (await createClient({ signer, targetOf: () => targetId }).fetch(origin)).status;
  return { machine, target, targetId, origin, statusOf };
}

/** A copy of the folder of a machine, as a thief has it. */
async function copyOf({ dir }: Machine): Promise<Machine> {
  const copy = join(dirname(dir), 'copy');
  await cp(dir, copy, { recursive: true });
  return new Machine(copy);
}

const idOf = async (machine: Machine) =>
  objectOf(await machine.amesh(['whoami', '--json'])).deviceId as string;

describe('amesh rotate withdraw --next', () => {
  it('ends the key of a thief who has replaced it twice, by the ID that the log names last', async () => {
    const { machine, origin, statusOf } = await meet('auto');
    const thief = await copyOf(machine);
    for (const words of [
      ['rotate', origin],
      ['rotate', 'finish'],
      ['rotate', origin],
    ])
      expect((await thief.amesh([...words, '--yes'])).code).toBe(0);
    const stolen = await openDevice(thief.dir, {});
    expect(await statusOf(stolen)).toBe(200);
    const { code, stderr } = await machine.amesh(['rotate', 'withdraw', '--next', await idOf(thief), origin]);
    expect([code, stderr]).toEqual([
      0,
      expect.stringContaining(`✓ ${origin}/: withdrawn. The next key does not count there.\n`),
    ]);
    expect(await statusOf(stolen)).toBe(401);
    expect(await statusOf(await openDevice(machine.dir, {}))).toBe(200);
  });

  it('claims nothing if a target says "refused": it may have withdrawn nothing, and an older one says so always', async () => {
    const { machine, origin } = await meet('auto', ({ headers }) =>
      headers['authmesh-rotation'] === undefined ? undefined : 'refused',
    );
    const deviceId = await idOf(machine);
    const words = ['rotate', 'withdraw', '--next', `am_${'A'.repeat(16)}`, origin];
    const { code, stderr } = await machine.amesh(words);
    expect([code, stderr]).toEqual([1, expect.not.stringContaining('✓')]);
    expect(stderr).toContain('may still count there.');
    expect(stderr).toContain(`may still count. On the target:  amesh revoke ${deviceId}`);
    const json = await machine.amesh([...words, '--json']);
    expect([json.code, objectOf(json)]).toMatchObject([1, { left: [expect.stringMatching(/^am_/)] }]);
  });

  it('asks with the key that the target knows, while the machine replaces its own', async () => {
    const { machine, targetId, origin, statusOf } = await meet('auto');
    const { signer: former } = await openDevice(machine.dir, {});
    const thief = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
    await machine.amesh(['rotate']);
    const statement = await signRotation({ former, next: thief, targetId, nowMs: Date.now() });
    const headers = { 'authmesh-rotation': statement };
    const stolen = await signRequest(new Request(origin, { headers }), former, { targetDeviceId: targetId });
    expect((await fetch(stolen)).headers.get('authmesh-rotation')).toBe('accepted');
    const nextId = await deviceIdOf(thief.publicKey, nodeCrypto);
    const { code } = await machine.amesh(['rotate', 'withdraw', '--next', nextId, origin]);
    expect([code, await statusOf({ signer: thief })]).toEqual([0, 401]);
    expect((await machine.amesh(['rotate', origin])).stderr).toContain(`✓ ${origin}/: accepted.\n`);
  });
});

describe('amesh rotate withdraw', () => {
  it('waits for a target that says "refused", and gives it up with --force', async () => {
    const { machine, targetId, origin } = await meet('auto', ({ headers }) =>
      headers['authmesh-rotation']?.includes('withdraw') ? 'refused' : undefined,
    );
    await machine.amesh(['rotate', origin]);
    const withdraw = ['rotate', 'withdraw', origin, '--yes', '--json'];
    for (const [words, code, left] of [
      [withdraw, 1, [targetId]],
      [[...withdraw, '--force'], 0, []],
    ] as const) {
      const ran = await machine.amesh(words);
      expect([ran.code, objectOf(ran).left]).toEqual([code, left]);
    }
  });

  it('says that the next key still counts if an administrator has added it, and how to end that', async () => {
    const { machine, target, targetId, origin } = await meet('admin');
    const { nextId } = objectOf(await machine.amesh(['rotate', origin, '--json']));
    await target.amesh(['trust', 'add', '--role', 'controller', await lineOf(machine), '--yes']);
    const withdraw = ['rotate', 'withdraw', origin, '--yes'];
    const { code, stderr } = await machine.amesh(withdraw);
    expect([code, stderr]).toEqual([1, expect.not.stringContaining('does not count there')]);
    expect(stderr).toContain(`On the target:  amesh revoke ${nextId}`);
    expect(objectOf(await machine.amesh([...withdraw, '--json'])).left).toEqual([targetId]);
    await target.amesh(['revoke', nextId as string, '--yes']);
    await expect
      .poll(async () => (await machine.amesh(withdraw)).stderr, { timeout: 10_000 })
      .toContain(`✓ ${origin}/: withdrawn. The next key does not count there.`);
    expect((await machine.amesh(['rotate'])).code).toBe(0);
  });
});
