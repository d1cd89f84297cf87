import { createAmesh } from '@authmesh/sdk';
import { describe, expect, it, vi } from 'vitest';
import { listen } from '../support/listen';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh list', () => {
  it('says how to pair where the list is empty', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const ran = await machine.amesh(['list']);
    expect(ran).toMatchObject({ code: 0, stdout: '' });
    expect(ran.stderr).toContain('This machine trusts no device yet.');
    expect(ran.stderr).toContain(machine.here('amesh listen\n'));
    expect(ran.stderr).toContain('and then there       amesh invite CODE\n');
    expect(objectOf(await machine.amesh(['list', '--json']))).toMatchObject({ ok: true, devices: [] });
  });

  it('prints a table, and the whole entries with --json', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const alice = await (await createMachine()).init('alice-laptop');
    const db = await (await createMachine()).init('db');
    const add = ['trust', 'add', '--role'];
    await machine.amesh([...add, 'controller', `amesh-p256 ${alice.publicKey} alice-laptop`]);
    await machine.amesh([
      ...add,
      'target',
      '--host',
      'db.example:8443,db2.example',
      `amesh-p256 ${db.publicKey} db`,
    ]);

    const { devices } = await machine.allowList();
    const day = new Date((devices[0]?.addedAt as number) * 1000).toISOString().slice(0, 10);
    const ran = await machine.amesh(['list']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(ran.stdout.split('\n')).toEqual([
      'NAME          ID                   ROLES       HOSTS                         ADDED       SEEN',
      `alice-laptop  ${alice.deviceId}  controller  -                             ${day}  -`,
      `db            ${db.deviceId}  target      db.example:8443, db2.example  ${day}  -`,
      '',
    ]);
    const object = objectOf(await machine.amesh(['list', '--json']));
    expect(object).toMatchObject({ ok: true, devices });
    expect(Object.keys((object.devices as unknown as object[])[0] as object).sort()).toEqual(
      ['addedAt', 'deviceId', 'friendlyName', 'hosts', 'lastSeenAt', 'publicKey', 'roles'].sort(),
    );
  });

  it('says when a controller was last let in', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const laptop = await createMachine();
    const { publicKey } = await laptop.init('laptop');
    await machine.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} laptop`]);
    const verify = createAmesh({ dir: machine.dir, env: {} }).verify();
    const server = await listen((request, response) => verify(request, response, () => response.end()));
    const before = Math.floor(Date.now() / 1000);
    const { fetch } = createAmesh({ dir: laptop.dir, env: {} });
    await vi.waitFor(async () => expect((await fetch(server.origin)).status).toBe(200), 5000);
    const seen = await vi.waitFor(async () => {
      const { devices } = objectOf(await machine.amesh(['list', '--json']));
      const [{ lastSeenAt }] = devices as [{ lastSeenAt: number | null }];
      expect(lastSeenAt).not.toBeNull();
      return lastSeenAt as number;
    }, 10_000);
    await server.close();
    expect(seen).toBeGreaterThanOrEqual(before);
    expect(seen).toBeLessThanOrEqual(Date.now() / 1000);
    const minute = new Date(seen * 1000).toISOString().slice(0, 16).replace('T', ' ');
    expect((await machine.amesh(['list'])).stdout).toContain(`  ${minute} UTC\n`);
  });
});
