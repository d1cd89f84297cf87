import { describe, expect, it } from 'vitest';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh list', () => {
  it('says how to pair where the list is empty', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const ran = await machine.amesh(['list']);
    expect(ran).toMatchObject({ code: 0, stdout: '' });
    expect(ran.stderr).toContain('No device is trusted yet.');
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
      'NAME          ID                   ROLES       HOSTS                         ADDED',
      `alice-laptop  ${alice.deviceId}  controller  -                             ${day}`,
      `db            ${db.deviceId}  target      db.example:8443, db2.example  ${day}`,
      '',
    ]);
    const object = objectOf(await machine.amesh(['list', '--json']));
    expect(object).toMatchObject({ ok: true, devices });
    expect(Object.keys((object.devices as unknown as object[])[0] as object).sort()).toEqual(
      ['addedAt', 'deviceId', 'friendlyName', 'hosts', 'publicKey', 'roles'].sort(),
    );
  });
});
