import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { openDevice } from '@authmesh/sdk/admin';
import { createClient, deviceIdOf, signRequest } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it } from 'vitest';
import { signRotation } from '../../src/core/rotation/rotation';
import { listen } from '../support/listen';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh rotate', () => {
  it('replaces the key, shows that, refuses to finish early, and ends with --force', async () => {
    const [machine, target] = [await createMachine('laptop'), await createMachine('orders')];
    const line = (await target.amesh(['trust', 'export'])).stdout.trim();
    await machine.amesh(['trust', 'add', '--role', 'target', '--host', 'orders:3000', line, '--yes']);
    const { deviceId: formerId } = objectOf(await machine.amesh(['whoami', '--json']));
    const made = objectOf(await machine.amesh(['rotate', '--json']));
    expect(made).toMatchObject({
      ok: true,
      formerId,
      isNew: true,
      isSwapped: true,
      waitsForOwners: null,
      told: [],
    });
    expect(made.targets).toMatchObject([{ friendlyName: 'orders', state: 'untold', hasFollowed: false }]);
    const again = await machine.amesh(['rotate']);
    expect(again.code).toBe(0);
    expect(again.stdout).toMatch(/orders {2}\(am_.{16}\) +untold/);
    expect(again.stderr).toContain('0 of 1 target followed');
    const backend = ['rotate', '--backend', 'keychain'];
    expect(objectOf(await machine.amesh([...backend, '--json']))).toMatchObject({
      error: { code: 'rotation_unfinished', message: expect.stringContaining(`by ${made.nextId} already`) },
    });
    const same = await machine.amesh(['rotate', '--backend', 'encrypted-file']);
    expect(same.stderr).toContain(`continues with ${made.nextId}`);
    const { stderr: early } = await machine.amesh(['rotate', 'finish']);
    expect(early).toMatch(/^✗ This target has not accepted .*: "orders" \(am_.{16}\)\./);
    expect(early).toContain('amesh rotate finish --force gives up those that have not.');
    await copyFile(join(machine.dir, 'rotation.json'), join(target.dir, 'rotation.json'));
    expect((await target.amesh(['status'])).stdout).not.toContain('rotation'); // it is not about that machine
    expect((await machine.amesh(['status'])).stdout).toContain(`from ${formerId} to ${made.nextId}`);
    const { checks } = objectOf(await machine.amesh(['doctor', '--json'])) as { checks: { check: string }[] };
    expect(checks.find(({ check }) => check === 'rotation')).toMatchObject({ state: 'ok' });
    const path = join(machine.dir, 'rotation.json');
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), startedAt: 1 }));
    const late = (await machine.amesh(['doctor'])).stdout;
    // What an instance that cannot change its list has answered is not in the folder.
    expect(late).toContain('For more than 30 days, "orders" has not accepted it: nothing was sent there, or');
    expect(objectOf(await machine.amesh(['rotate', 'finish', '--json']))).toMatchObject({
      error: {
        code: 'rotation_unfinished',
        message: expect.stringContaining('Then run amesh rotate URL here'),
      },
    });
    const over = objectOf(await machine.amesh(['rotate', 'finish', '--force', '--yes', '--json']));
    expect(over).toMatchObject({ ok: true, formerId, left: [expect.any(String)] });
    expect((await machine.amesh(['rotate', '--compromised'])).stdout).toContain(
      `amesh revoke ${made.nextId}`,
    );
  });

  it('refuses to finish, and says what each of two targets needs', async () => {
    const machine = await createMachine('laptop');
    for (const name of ['orders', 'billing']) {
      const line = (await (await createMachine(name)).amesh(['trust', 'export'])).stdout.trim();
      await machine.amesh(['trust', 'add', '--role', 'target', '--host', name, line, '--yes']);
    }
    const { nextId, targets } = objectOf(await machine.amesh(['rotate', '--json'])) as {
      nextId: string;
      targets: { deviceId: string; friendlyName: string }[];
    };
    const { deviceId } = targets.find(({ friendlyName }) => friendlyName === 'orders') ?? {};
    const path = join(machine.dir, 'rotation.json');
    const file = JSON.parse(await readFile(path, 'utf8'));
    file.targets[deviceId as string].state = 'waiting';
    await writeFile(path, JSON.stringify(file));
    const { stderr } = await machine.amesh(['rotate', 'finish']);
    expect(stderr).toContain(
      `At "orders" (${deviceId}) it waits for an administrator there: amesh rotate accept ${nextId}. If all instances`,
    );
  });

  it.each([
    [1, '! Cancelled a provision token that no machine had taken: its machine would trust the former key.'],
    [
      2,
      '! Cancelled 2 provision tokens that no machine had taken: their machines would trust the former key.',
    ],
  ])('says that it cancels provision tokens: %d', async (count, message) => {
    const machine = await createMachine('laptop');
    for (let i = 0; i < count; i++)
      await machine.amesh(['provision', '--name', `p${i}`, '--host', `p${i}:1`]);
    expect((await machine.amesh(['rotate'])).stderr).toContain(`${message} Make new ones: amesh provision`);
  });

  it.each([
    [['--key', 'SHA256:x'], '--key is only for --backend ssh-agent.'],
    [['--socket', '/x'], '--socket is only for --backend ssh-agent.'],
    [['--backend', 'encrypted-file', '--key', 'SHA256:x'], '--key is only for --backend ssh-agent.'],
    [['--backend', 'ssh-agent', '--socket', '~/x'], '--socket begins with ~'],
  ])('is a usage error, and changes nothing: amesh rotate %j', async (flags, message) => {
    const machine = await createMachine('laptop');
    const { code, stderr } = await machine.amesh(['rotate', ...flags]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(await machine.amesh(['status'])).toMatchObject({
      stdout: expect.not.stringContaining('rotation'),
    });
  });

  it('takes a rotation back', async () => {
    const machine = await createMachine('laptop');
    const { deviceId: formerId } = objectOf(await machine.amesh(['whoami', '--json']));
    expect(objectOf(await machine.amesh(['rotate', 'withdraw', '--yes', '--json']))).toMatchObject({
      error: { code: 'not_rotating' },
    });
    const { id } = objectOf(await machine.amesh(['provision', '--name', 'prod', '--json']));
    const { nextId, cancelled } = objectOf(await machine.amesh(['rotate', '--json']));
    expect(cancelled).toEqual([id]); // a machine that takes the token would trust the former key alone
    const back = objectOf(await machine.amesh(['rotate', 'withdraw', '--yes', '--json']));
    expect(back).toEqual({ ok: true, deviceId: formerId, withdrawnId: nextId, told: [], left: [] });
    expect(objectOf(await machine.amesh(['whoami', '--json']))).toMatchObject({ deviceId: formerId });
    const wrong = await machine.amesh(['rotate', 'nowhere']);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('is no URL')]);
  });

  it('ends a next key that somebody else has made with the key of this machine', async () => {
    const [machine, target] = [await createMachine('laptop'), await createMachine('orders')];
    const verify = createAmesh({ dir: target.dir, env: {}, acceptRotation: 'auto' }).verify();
    const { origin, authority, close } = await listen((request, response) =>
      verify(request as never, response as never, () => response.end('ok')),
    );
    const lineOf = async (one: typeof machine) => (await one.amesh(['trust', 'export'])).stdout.trim();
    await target.amesh(['trust', 'add', '--role', 'controller', await lineOf(machine), '--yes']);
    await machine.amesh([
      'trust',
      'add',
      '--role',
      'target',
      '--host',
      authority,
      await lineOf(target),
      '--yes',
    ]);
    const own = await openDevice(machine.dir, {});
    const thief = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
    const targetId = (await openDevice(target.dir, {})).identity.deviceId;
    const statement = await signRotation({ former: own.signer, next: thief, targetId, nowMs: Date.now() });
    const client = createClient({ signer: own.signer, targetOf: () => targetId });
    const headers = { 'authmesh-rotation': statement };
    const stolen = await signRequest(new Request(origin, { headers }), own.signer, {
      targetDeviceId: targetId,
    });
    expect((await fetch(stolen)).headers.get('authmesh-rotation')).toBe('accepted');
    const byThief = createClient({ signer: thief, targetOf: () => targetId });
    expect((await byThief.fetch(origin)).status).toBe(200);

    const nextId = await deviceIdOf(thief.publicKey, nodeCrypto);
    const ended = await machine.amesh(['rotate', 'withdraw', '--next', nextId, origin, '--json']);
    expect(objectOf(ended)).toMatchObject({
      ok: true,
      withdrawnId: nextId,
      left: [],
      told: [{ answer: 'withdrawn' }],
    });
    expect((await byThief.fetch(origin)).status).toBe(401);
    expect((await client.fetch(origin)).status).toBe(200);

    await machine.amesh(['rotate']);
    const told = await machine.amesh(['rotate', origin]);
    expect(told.stderr).toContain(`✓ ${origin}/: accepted.\n`);
    const back = await machine.amesh(['rotate', 'withdraw', origin, '--yes']);
    expect(back.stderr).toContain(`✓ ${origin}/: withdrawn. The next key does not count there.\n`);
    for (const words of [
      ['--next', 'laptop', origin],
      ['--next', nextId],
    ])
      expect((await machine.amesh(['rotate', 'withdraw', ...words])).code).toBe(2);
    await close();
  });
});
