import { setTimeout as sleep } from 'node:timers/promises';
import { type DeviceEntry, openDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { changeDevices, newDevice } from '../support/list-document';
import { type Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();
const DAY = 86_400;

/** A machine that `laptop` may call, and that calls `db`. */
async function createTarget() {
  const machine = await createMachine('prod-api');
  const { trust } = await openDevice(machine.dir, {});
  const laptop = { ...newDevice(), friendlyName: 'laptop' };
  const db = { ...newDevice(), friendlyName: 'db', roles: ['target'] as const };
  await trust.update(async (draft) => {
    for (const device of [laptop, db]) await draft.put(device);
  });
  return { machine, trust, id: laptop.deviceId };
}

const entryOf = async (machine: Machine, name = 'laptop') =>
  (await machine.allowList()).devices.find(({ friendlyName }) => friendlyName === name);
const scopesOf = async (machine: Machine) => (await entryOf(machine))?.scopes;

describe('amesh allow', () => {
  it('adds scopes without duplicates, and none that another one covers', async () => {
    const { machine, id } = await createTarget();
    const ran = await machine.amesh(['allow', 'laptop', 'orders:read', 'reports:*']);
    expect(ran).toMatchObject({ code: 0, stdout: '' });
    expect(ran.stderr).toBe(
      `✓ "laptop" (${id}) may now do: orders:read, reports:*.   Undo: ${machine.here("amesh deny laptop orders:read 'reports:*'")}\n`,
    );
    const again = await machine.amesh(['allow', id, 'reports:a,orders:read']);
    expect(again.stderr).toContain(
      'was already like that. It may do: orders:read, reports:*. No changes were made.',
    );
    expect(await scopesOf(machine)).toEqual(['orders:read', 'reports:*']);
    await machine.amesh(['allow', 'laptop', 'orders:*']);
    expect(await scopesOf(machine)).toEqual(['orders:*', 'reports:*']);
    await machine.amesh(['allow', 'laptop', '*']);
    expect(await scopesOf(machine)).toEqual(['*']);
  });

  it('sets the end of the trust in the device, moves it, and removes it', async () => {
    const { machine } = await createTarget();
    const before = Math.floor(Date.now() / 1000);
    const ran = await machine.amesh(['allow', 'laptop', 'orders:read', '--expires', '90d']);
    const end = (await entryOf(machine))?.expiresAt ?? 0;
    expect(end - before - 90 * DAY).toBeGreaterThanOrEqual(0);
    expect(end).toBeLessThanOrEqual(Date.now() / 1000 + 90 * DAY);
    expect(ran.stderr).toMatch(
      /The trust in "laptop" ends 20.* UTC\. After that it may not call this machine at all\.\n/,
    );
    await machine.amesh(['allow', 'laptop', 'orders:write']);
    expect((await entryOf(machine))?.expiresAt).toBe(end); // only --expires moves it
    const never = objectOf(await machine.amesh(['allow', 'laptop', '--expires', 'never', '--json']));
    expect(never).toMatchObject({ ok: true, changed: true, added: [] });
    expect(await entryOf(machine)).not.toHaveProperty('expiresAt');
    expect(await scopesOf(machine)).toEqual(['orders:read', 'orders:write']);
  });

  it('says that a device has ended, even if it gets scopes', async () => {
    const { machine, trust } = await createTarget();
    await changeDevices(trust, (device) => ({ ...device, expiresAt: 1_764_000_000 }));
    const ran = await machine.amesh(['allow', 'laptop', 'orders:read']);
    expect(ran.stderr).toContain('! The trust in "laptop" ended 2025-11-24 16:00 UTC: it may not call');
  });

  describe('for a lease that has ended', () => {
    async function ended(more: Partial<DeviceEntry> = {}) {
      const { machine, trust, id } = await createTarget();
      const now = Math.floor(Date.now() / 1000);
      const lease = { grant: 'gone', expiresAt: now + 1, endsAt: now + 3600 };
      await trust.update(async (draft) =>
        draft.put({ ...((await draft.device(id)) as DeviceEntry), lease, ...more }),
      );
      await sleep(lease.expiresAt * 1000 - Date.now() + 1100);
      return { machine, id };
    }
    const ADVICE =
      /pair it \(amesh listen\), or give it the token of a new grant: .*amesh grant --name laptop\n/;

    it('says that the device may not call, whatever its end', async () => {
      const { machine } = await ended();
      const ran = await machine.amesh(['allow', 'laptop', '--expires', '90d']);
      expect(ran.code).toBe(0);
      expect(ran.stderr).toMatch(
        /\n! The lease of "laptop" ended 20.* UTC: it may not call this machine at all, whatever the end of the trust in it\.\n/,
      );
      expect(ran.stderr).toMatch(ADVICE);
      const json = objectOf(await machine.amesh(['allow', 'laptop', '--expires', '80d', '--json']));
      expect(json).toMatchObject({
        ok: true,
        code: 'device_expired',
        message: 'The lease of this device has ended.',
        hint: expect.stringContaining('amesh grant'),
      });
      // No other command shows the later end.
      expect((await machine.amesh(['list'])).stdout).toMatch(/^laptop .* ended 20\S+ \S+ UTC$/m);
      expect((await machine.amesh(['status'])).stdout).toMatch(
        /may call me {2}laptop .* {2}lease expired 20\S+ \S+ UTC$/m,
      );
    });

    it('says that a device without an end leaves the list', async () => {
      const { machine, id } = await ended({ expiresAt: 4_000_000_000 });
      const left =
        /\n {2}It has left the list: an ended lease stays there only while the trust in the device has an end\.\n/;
      expect((await machine.amesh(['allow', 'laptop', '--expires', '90d'])).stderr).not.toMatch(left);
      expect((await machine.amesh(['allow', 'laptop', '--expires', 'never'])).stderr).toMatch(left);
      expect((await machine.allowList()).devices.map(({ deviceId }) => deviceId)).not.toContain(id);
    });

    it('gives no scopes, which a later lease would not have', async () => {
      const { machine, id } = await ended();
      const { revision } = await machine.allowList();
      const ran = await machine.amesh(['allow', 'laptop', 'orders:read']);
      expect([ran.code, ran.stdout]).toEqual([1, '']);
      expect(ran.stderr).toContain(`✗ The lease of "laptop" (${id}) has ended, so scopes have no effect.\n`);
      expect(ran.stderr).toMatch(ADVICE);
      expect(ran.stderr).toContain('No changes were made.\n');
      expect(objectOf(await machine.amesh(['allow', 'laptop', 'a', '--json']))).toMatchObject({
        error: { code: 'device_expired' },
      });
      expect((await machine.allowList()).revision).toBe(revision);
    });

    it('advises only what helps if the trust has ended, too', async () => {
      const { machine } = await ended({ expiresAt: 1_764_000_000, scopes: ['a', 'b'] });
      const ran = await machine.amesh(['deny', 'laptop', 'a']);
      expect(ran.code).toBe(0);
      expect(ran.stderr).toContain('! The lease of "laptop" ended 20');
      expect(ran.stderr).toContain('pair it: run amesh listen here and amesh invite on the caller\n');
      expect(ran.stderr).not.toContain('--expires');
      const listed = await machine.amesh(['list']);
      expect(listed.stdout).toContain('ended 2025-11-24 16:00 UTC');
      expect(listed.stderr).not.toContain('To move an end');
    });
  });

  it.each([
    [['nobody', 'orders:read'], 1, 'No device is called "nobody".'],
    [
      ['db', 'orders:read'],
      1,
      '"db" is not a controller: it may not call this machine, so scopes and an end have no effect.\n  If it should be one: run',
    ],
    [['db', '--expires', '90d'], 1, '"db" is not a controller: it may not call this machine'],
    [['laptop'], 2, 'Which scope? Give at least one, or --expires.'],
    [['laptop', 'Orders:read'], 2, '"Orders:read" is not a scope.'],
    [['laptop', 'orders:read,'], 2, '"" is not a scope.'],
    [['laptop', 'orders:'.padEnd(65, 'x')], 2, 'is not a scope.'],
    [['laptop', 'or*'], 2, '"or*" is not a scope.'],
    [['laptop', 'a:*:b'], 2, '"a:*:b" is not a scope.'],
    [['laptop', 'orders:read', '--expires', '0s'], 2, '--expires must be a duration from 1s to 3650d.'],
    [['laptop', 'orders:read', '--expires', '4000d'], 2, '--expires must be a duration'],
    [['laptop', 'orders:read', '--expires', '2027-01-01'], 2, '--expires must be a duration'],
    [['laptop', 'orders:read', '--expires', '1d', '--expires', '2d'], 2, '--expires is given twice.'],
  ])('refuses %j', async (args, code, text) => {
    const { machine, trust } = await createTarget();
    const { revision } = await trust.readHead();
    const ran = await machine.amesh(['allow', ...args]);
    expect([ran.code, ran.stderr]).toEqual([code, expect.stringContaining(text)]);
    expect(ran.stderr).toContain('No changes were made.');
    expect((await trust.readHead()).revision).toBe(revision);
  });

  it('gives a device at most 64 scopes, and changes nothing beyond that', async () => {
    const { machine } = await createTarget();
    const scopes = Array.from({ length: 64 }, (_, i) => `s${String(i).padStart(2, '0')}`.padEnd(64, 'x'));
    expect((await machine.amesh(['allow', 'laptop', ...scopes])).code).toBe(0);
    const more = await machine.amesh(['allow', 'laptop', 'orders:read', '--expires', '1d', '--json']);
    expect(objectOf(more)).toMatchObject({ ok: false, error: { code: 'too_many_scopes' } });
    expect(await scopesOf(machine)).toEqual(scopes);
    expect(await entryOf(machine)).not.toHaveProperty('expiresAt');
    expect((await machine.amesh(['allow', 'laptop', '*'])).code).toBe(0);
  });
});

/** The command that a line says, as words. */
const toldIn = (stderr: string, before: string) =>
  (stderr.split(before)[1] ?? '').split('\n', 1).join('').trim().split(' ').slice(2);

it('a name in a command that takes back a change means only one device', async () => {
  const { machine, trust } = await createTarget();
  const other = { ...newDevice(), friendlyName: 'Laptop' };
  const { deviceId, publicKey } = await (await createMachine()).init('x');
  const twin = { ...newDevice(), deviceId, publicKey, friendlyName: 'laptop' };
  await trust.update(async (draft) => {
    for (const device of [other, twin]) await draft.put(device);
  });
  for (const { deviceId } of [other, twin]) {
    const allowed = await machine.amesh(['allow', deviceId, 'orders:read']);
    expect(toldIn(allowed.stderr, 'Undo:')).toEqual(['deny', deviceId, 'orders:read']);
    const denied = await machine.amesh(['deny', deviceId, 'orders:read']);
    expect(toldIn(denied.stderr, 'Undo:')).toEqual(['allow', deviceId, 'orders:read']);
    expect(toldIn(denied.stderr, 'To end that:')).toEqual(['revoke', deviceId]);
  }
  // It is in the list already, so it is not told of the others.
  const role = ['trust', 'add', '--role', 'target', '--host', 'b.example'];
  const added = await machine.amesh([...role, `amesh-p256 ${twin.publicKey} laptop`]);
  expect(toldIn(added.stderr, 'Undo:').slice(0, 2)).toEqual(['revoke', twin.deviceId]);
  for (const { deviceId } of [other, twin]) await machine.amesh(['revoke', deviceId, '--yes']);
  // Only one is left with this name.
  const single = await machine.amesh(['allow', 'LAPTOP', 'orders:read']);
  expect(toldIn(single.stderr, 'Undo:')).toEqual(['deny', 'laptop', 'orders:read']);
});

describe('amesh deny', () => {
  it('takes scopes, and says which remain', async () => {
    const { machine, id } = await createTarget();
    await machine.amesh(['allow', 'laptop', 'orders:read', 'orders:write', 'reports:*']);
    const ran = await machine.amesh(['deny', 'laptop', 'orders:read']);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toBe(
      `✓ "laptop" (${id}) may no longer do: orders:read.   Undo: ${machine.here('amesh allow laptop orders:read')}\n  This takes effect within a second.\n  It may still do: orders:write, reports:*.\n`,
    );
    // Nothing below a wildcard survives it.
    expect((await machine.amesh(['deny', 'laptop', 'orders:*', 'reports:*'])).code).toBe(0);
    expect(await entryOf(machine)).not.toHaveProperty('scopes');
    const again = await machine.amesh(['deny', 'laptop', 'orders:read']);
    expect(again.stderr).toContain(`! "laptop" (${id}) did not have orders:read. No changes were made.\n`);
    expect(again.stderr).toContain('It may still call what requires no scope.');
  });

  it.each([
    ['reports:*', 'reports:daily'],
    ['reports:*', 'reports:a:*'],
    ['*', 'reports:daily'],
    ['*', 'reports:*'],
  ])('says that nothing changes if %s covers %s', async (wide, scope) => {
    const { machine, id } = await createTarget();
    await machine.amesh(['allow', 'laptop', wide, 'x']);
    const before = await scopesOf(machine);
    const ran = await machine.amesh(['deny', 'laptop', 'x', scope]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(`✗ "laptop" has ${wide}, which covers ${wide === '*' ? '' : scope}`);
    expect(ran.stderr).toContain(machine.here(`amesh deny ${id} '${wide}'`));
    expect(await scopesOf(machine)).toEqual(before);
    expect((await machine.amesh(['deny', 'laptop', wide, scope])).code).toBe(0);
  });

  it('says which scopes the device did not have, such as a mistyped one', async () => {
    const { machine, id } = await createTarget();
    await machine.amesh(['allow', 'laptop', 'orders:read', 'reports:a']);
    const none = await machine.amesh(['deny', 'laptop', 'order:read']);
    expect(none.code).toBe(0);
    expect(none.stderr).toBe(
      `! "laptop" (${id}) did not have order:read. No changes were made.\n  It may still do: orders:read, reports:a.\n`,
    );
    const some = await machine.amesh(['deny', 'laptop', 'order:read', 'reports:*']);
    expect(some.stderr).toContain(`✓ "laptop" (${id}) may no longer do: reports:a.`);
    expect(some.stderr).toContain(
      `! "laptop" (${id}) did not have order:read.\n  It may still do: orders:read.\n`,
    );
    const json = objectOf(await machine.amesh(['deny', 'laptop', 'orders:read', 'x', '--json']));
    expect(json).toMatchObject({ ok: true, changed: true, removed: ['orders:read'], notGranted: ['x'] });
    const again = objectOf(await machine.amesh(['deny', 'laptop', 'orders:read', '--json']));
    expect(again).toMatchObject({ ok: true, changed: false, removed: [], notGranted: ['orders:read'] });
  });

  it('needs a scope and a controller', async () => {
    const { machine } = await createTarget();
    expect((await machine.amesh(['deny', 'laptop'])).code).toBe(2);
    expect((await machine.amesh(['deny', 'laptop', '--expires', '1d'])).code).toBe(2);
    expect((await machine.amesh(['deny', 'db', 'x'])).stderr).toContain(
      '"db" is not a controller: it may not call this machine',
    );
  });
});
