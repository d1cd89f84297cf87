import { createAmesh } from '@authmesh/sdk';
import { type DeviceEntry, openDevice } from '@authmesh/sdk/admin';
import { createServerVerifier } from '@authmesh/sdk/workers';
import { describe, expect, it, vi } from 'vitest';
import { newDevice, randomId, withDevices } from '../support/list-document';
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

  it('prints the sealed list as one text with --export, and nothing else', async () => {
    const machine = await createMachine();
    const { deviceId, publicKey } = await machine.init('prod-api');
    const { trust } = await openDevice(machine.dir, {});
    await withDevices(trust, Array.from({ length: 200 }, randomId));
    const ran = await machine.amesh(['list', '--export']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const { head, pages } = await trust.open();
    expect(pages.size).toBeGreaterThan(0);
    expect(ran.stdout).toBe(Buffer.concat([head, ...pages.values()]).toString());
    expect(objectOf(await machine.amesh(['list', '--export', '--json']))).toEqual({
      ok: true,
      list: ran.stdout,
    });

    // As a Worker reads it from a variable, without the newline.
    const options = { allowList: ran.stdout.trim(), ownerKey: publicKey, deviceId };
    expect(() => createServerVerifier(options)).not.toThrow();
  });

  it('prints only what the filters choose', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const { trust } = await openDevice(machine.dir, {});
    const now = Math.floor(Date.now() / 1000);
    const day = 86_400;
    const lease = (expiresAt: number) => ({ grant: 'g', expiresAt, endsAt: expiresAt });
    const add = [
      { ...newDevice(), friendlyName: 'worker-1', addedAt: now - 40 * day },
      { ...newDevice(), friendlyName: 'Worker-2', addedAt: now, lease: lease(now + 3 * day) },
      { ...newDevice(), friendlyName: 'laptop (1)', addedAt: now - 40 * day, expiresAt: now + 90 * day },
      { ...newDevice(), friendlyName: 'db', addedAt: now - 40 * day, roles: ['target'] as const },
    ];
    await trust.update(async (draft) => {
      for (const device of add) await draft.put(device);
    });
    const [, , laptop] = add as [DeviceEntry, DeviceEntry, DeviceEntry];
    await trust.lastSeen.add(new Map([[laptop.deviceId, now - day]]), await trust.read());
    const names = async (...args: string[]) => {
      const { devices } = objectOf(await machine.amesh(['list', '--json', ...args]));
      return (devices as unknown as DeviceEntry[]).map(({ friendlyName }) => friendlyName).sort();
    };
    expect(await names('--role', 'target')).toEqual(['db']);
    expect(await names('--name', 'worker-*')).toEqual(['Worker-2', 'worker-1']);
    expect(await names('--name', 'laptop (*)')).toEqual(['laptop (1)']);
    expect(await names('--name', 'work')).toEqual([]);
    expect(await names('--unused', '30d')).toEqual(['worker-1']);
    expect(await names('--unused', '1h')).toEqual(['laptop (1)', 'worker-1']);
    expect(await names('--expires', '14d')).toEqual(['Worker-2']);
    expect(await names('--expires', '100d', '--name', 'l*')).toEqual(['laptop (1)']);

    const none = await machine.amesh(['list', '--name', 'nobody']);
    expect(none).toMatchObject({ code: 0, stdout: '' });
    expect(none.stderr).toContain('None of the 4 devices in the list matches.');
    for (const args of [
      ['--unused', 'soon'],
      ['--export', '--role', 'target'],
    ])
      expect((await machine.amesh(['list', ...args])).code).toBe(2);
  });
});
