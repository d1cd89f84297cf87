import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { type DeviceEntry, openDevice } from '@authmesh/sdk/admin';
import { createServerVerifier } from '@authmesh/sdk/workers';
import { describe, expect, it, vi } from 'vitest';
import { newDevice, randomId, withDevices } from '../support/list-document';
import { listen } from '../support/listen';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh list', () => {
  it('says how to pair if the list is empty', async () => {
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
      'NAME          ID                   ROLES       HOSTS                         SCOPES  ADDED       SEEN  ENDS',
      `alice-laptop  ${alice.deviceId}  controller  -                             -       ${day}  -     -`,
      `db            ${db.deviceId}  target      db.example:8443, db2.example  -       ${day}  -     -`,
      '',
    ]);
    const object = objectOf(await machine.amesh(['list', '--json']));
    expect(object).toMatchObject({ ok: true, devices });
    expect(Object.keys((object.devices as unknown as object[])[0] as object).sort()).toEqual(
      ['addedAt', 'deviceId', 'friendlyName', 'hosts', 'lastSeenAt', 'publicKey', 'roles'].sort(),
    );
  });

  it('says when a controller last called', async () => {
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
    expect((await machine.amesh(['list'])).stdout).toContain(`  ${minute} UTC  -\n`);
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
    const record = join(machine.dir, 'last_seen.txt');
    const kept = await readFile(record, 'utf8');
    const names = async (...args: string[]) => {
      const { devices } = objectOf(await machine.amesh(['list', '--json', ...args]));
      return (devices as unknown as DeviceEntry[]).map(({ friendlyName }) => friendlyName).sort();
    };
    expect(await names('--role', 'target')).toEqual(['db']);
    expect(await names('--name', 'worker-*')).toEqual(['Worker-2', 'worker-1']);
    expect(await names('--name', 'laptop (*)')).toEqual(['laptop (1)']);
    expect(await names('--name', 'work')).toEqual([]);
    // A device that was never seen is unused only for as long as records have been kept.
    expect(await names('--unused', '30d')).toEqual([]);
    await writeFile(record, kept.replace(/^since \d+/, `since ${now - 35 * day}`));
    expect(await names('--unused', '30d')).toEqual(['worker-1']);
    expect(await names('--unused', '40d')).toEqual([]);
    expect(await names('--unused', '1h')).toEqual(['laptop (1)', 'worker-1']);
    expect(await names('--expires', '14d')).toEqual(['Worker-2']);
    expect(await names('--expires', '100d', '--name', 'l*')).toEqual(['laptop (1)']);

    expect(await names('--name', '*1*')).toEqual(['laptop (1)', 'worker-1']);
    expect(await names('--name', 'WORKER-1*1')).toEqual([]);
    expect(await names('--name', `${'*r'.repeat(40)}*x`)).toEqual([]);

    const none = await machine.amesh(['list', '--name', 'nobody']);
    expect(none).toMatchObject({ code: 0, stdout: '' });
    expect(none.stderr).toContain('No device in the list matches (4 devices).');
    for (const args of [
      ['--unused', 'soon'],
      ['--export', '--role', 'target'],
      ['--export', '--json-lines'],
      ['--json', '--json-lines'],
      ['--json', '--page', '1'],
      ['--page', '0'],
    ])
      expect((await machine.amesh(['list', ...args])).code).toBe(2);
  });

  it('shows 50 rows a page, and one object per line with --json-lines', async () => {
    const machine = await createMachine('prod-api');
    const { trust } = await openDevice(machine.dir, {});
    const now = Math.floor(Date.now() / 1000);
    await trust.update(async (draft) => {
      for (let i = 0; i < 120; i++)
        await draft.put({
          ...newDevice(undefined, `d${i}`),
          addedAt: i,
          ...(i < 9 && { expiresAt: now + 90_000 }),
        });
    });
    const all = await machine.amesh(['list']);
    expect(all.stdout.trimEnd().split('\n')).toHaveLength(121); // into a pipe: nothing is left out
    expect(all.stderr).toMatch(/^(?:! The trust in "d\d" ends [^\n]*\n){5}! 4 more end soon/);
    const third = await machine.amesh(['list', '--page', '3']);
    expect(
      third.stdout
        .split('\n')
        .slice(1, -1)
        .map((row) => row.split(' ')[0]),
    ).toEqual(Array.from({ length: 20 }, (_, i) => `d${100 + i}`));
    expect(third.stderr).toContain('  Page 3 of 3, 120 rows.\n');
    expect((await machine.amesh(['list', '--page', '4'])).stderr).toContain(
      '! There is no page 4: the list has 3.',
    );
    const lines = (await machine.amesh(['list', '--json-lines'])).stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toHaveLength(121);
    expect(lines[0]).toMatchObject({ device: { friendlyName: 'd0', lastSeenAt: null } });
    expect(lines.at(-1)).toMatchObject({ ok: true, count: 120, provisioned: 0 });
  });

  it('shows the rest of a list without one page, and says so, as status and tokens do', async () => {
    const machine = await createMachine('prod-api');
    const { trust } = await openDevice(machine.dir, {});
    await withDevices(trust, Array.from({ length: 1200 }, randomId));
    const { pages } = await trust.open();
    const [[hash, page] = ['', new Uint8Array()]] = pages;
    await rm(join(machine.dir, 'list', hash));
    const left = 1200 - Buffer.from(page).toString().trimEnd().split('\n').length;
    const ran = await machine.amesh(['list']);
    expect([ran.code, ran.stdout.trimEnd().split('\n').length]).toEqual([1, left + 1]);
    expect(ran.stderr).toContain(
      `✗ A part of the list cannot be read (${hash}), so its devices are not shown.`,
    );
    const error = { code: 'allow_list_unavailable' };
    const json = await machine.amesh(['list', '--json']);
    expect([json.code, objectOf(json)]).toMatchObject([1, { ok: false, error }]);
    expect((objectOf(json).devices as object[]).length).toBe(left);
    const lines = (await machine.amesh(['list', '--json-lines'])).stdout.trimEnd().split('\n');
    expect([lines.length, JSON.parse(lines.at(-1) ?? '')]).toMatchObject([left + 1, { ok: false, error }]);
    for (const command of ['status', 'tokens'])
      expect(await machine.amesh([command])).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(hash),
      });
  });

  it('says that a file is in the place of the folder for its pages', async () => {
    const machine = await createMachine('prod-api');
    await writeFile(join(machine.dir, 'list'), '');
    const { trust } = await openDevice(machine.dir, {});
    await expect(withDevices(trust, Array.from({ length: 200 }, randomId))).rejects.toMatchObject({
      code: 'allow_list_unavailable',
      detail: `${join(machine.dir, 'list')} must be a folder, but there is a file in its place or above it.`,
    });
  });
});
