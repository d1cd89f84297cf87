import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh, type Refusal } from '@authmesh/sdk';
import { type DeviceEntry, openDevice, revokeDevice } from '@authmesh/sdk/admin';
import { createClient, deviceIdOf, type Signer } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it, vi } from 'vitest';
import { changeDevices, newDevice, randomId, withDevices } from '../support/list-document';
import { listen } from '../support/listen';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();
const now = () => Math.floor(Date.now() / 1000);
/** Changes a list when a lease has not ended yet: an entry with one that has ended would leave it. */
async function before<T>(lease: DeviceEntry['lease'], change: () => Promise<T>): Promise<T> {
  if (lease === undefined) return change();
  vi.useFakeTimers({ toFake: ['Date'], now: (lease.expiresAt - 60) * 1000 });
  try {
    return await change();
  } finally {
    vi.useRealTimers();
  }
}

async function createTarget(more: Partial<DeviceEntry> = {}) {
  const machine = await createMachine('api');
  const { trust } = await openDevice(machine.dir, {});
  const signer: Signer = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
  const deviceId = await deviceIdOf(signer.publicKey, nodeCrypto);
  const publicKey = Buffer.from(signer.publicKey).toString('base64url');
  await before(more.lease, () =>
    trust.update((draft) => draft.put({ ...newDevice(deviceId, 'laptop'), publicKey, ...more })),
  );
  return { machine, trust, signer, id: deviceId };
}

describe('amesh can', () => {
  it('says yes with exit code 0', async () => {
    const { machine, id } = await createTarget({ scopes: ['orders:*'], expiresAt: 4_000_000_000 });
    expect(await machine.amesh(['can', 'laptop', 'orders:read', 'orders:a:b'])).toEqual({
      code: 0,
      stdout: '',
      stderr: `✓ "laptop" (${id}) may do orders:read, orders:a:b. Its trust ends 2096-10-02 07:06 UTC.\n`,
    });
    expect((await machine.amesh(['can', id])).stderr).toContain(`✓ "laptop" (${id}) may call this machine.`);
    expect(objectOf(await machine.amesh(['can', 'laptop', 'orders:read', '--json']))).toMatchObject({
      ok: true,
      can: true,
      device: { deviceId: id, scopes: ['orders:*'] },
      required: ['orders:read'],
    });
  });

  const ends: readonly [why: string, more: Partial<DeviceEntry>, code: string, next: string][] = [
    ['no scope', {}, 'scope_missing', 'amesh allow ID orders:read'],
    [
      'another scope',
      { scopes: ['orders', 'orders:write', 'order:*'] },
      'scope_missing',
      'amesh allow ID orders:read',
    ],
    [
      'the end',
      { scopes: ['*'], expiresAt: 1_764_000_000 },
      'device_expired',
      'amesh allow ID --expires 90d',
    ],
    ['the role', { scopes: ['*'], roles: ['target'] }, 'role_not_allowed', 'amesh listen'],
  ];
  it.each(ends)('says no because of %s, as verify() does, and what to do', async (_, more, code, next) => {
    const { machine, signer, id } = await createTarget(more);
    const refusals: Refusal[] = [];
    const onRefusal = (refusal: Refusal) => void refusals.push(refusal);
    const verify = createAmesh({ dir: machine.dir, env: {}, onRefusal: onRefusal as never }).verify({
      require: 'orders:read',
    });
    const server = await listen((request, response) => verify(request, response, () => response.end('in')));
    await createClient({ signer }).fetch(server.origin);
    await server.close();
    expect(refusals.map((refusal) => refusal.code)).toEqual([code]);

    const ran = await machine.amesh(['can', 'laptop', 'orders:read']);
    expect([ran.code, ran.stdout]).toEqual([11, '']);
    expect(ran.stderr).toContain(`✗ No: "laptop" (${id}) may not do orders:read. `);
    expect(ran.stderr).toContain(next.replace('ID', id));
    const answer = objectOf(await machine.amesh(['can', id, 'orders:read', '--json']));
    expect(answer).toMatchObject({
      ok: true,
      can: false,
      code,
      hint: expect.stringContaining(next.replace('ID', id)),
    });
  });

  it('says that a lease has ended, which no end of the trust changes', async () => {
    const lease = { grant: 'gone', expiresAt: now() - 10, endsAt: now() + 3600 };
    const { machine, trust, id } = await createTarget({ scopes: ['*'], lease });
    const ran = await machine.amesh(['can', 'laptop']);
    expect([ran.code, ran.stderr]).toEqual([
      11,
      `✗ No: "laptop" (${id}) may not call this machine. The lease of this device has ended.\n  If it may call again, pair it (amesh listen), or give it the token of a new grant: ${machine.here('amesh grant --name laptop')}\n`,
    ]);
    await machine.amesh(['allow', 'laptop', '--expires', '90d']);
    const answer = objectOf(await machine.amesh(['can', 'laptop', '--json']));
    expect(answer).toMatchObject({ code: 'device_expired', message: 'The lease of this device has ended.' });
    // A grant does not renew a lease if the trust in the device has ended, too.
    await changeDevices(trust, (device) => ({ ...device, expiresAt: now() - 10 }));
    const both = await machine.amesh(['can', 'laptop']);
    expect(both.stderr).toContain('The lease of this device and the trust in it have ended.\n');
    expect(both.stderr).toContain('pair it: run amesh listen here and amesh invite on the caller\n');
  });

  it('names the callers as the grant of a lease that has ended did', async () => {
    const { machine, trust, signer, id } = await createTarget();
    await machine.amesh(['grant', '--name', 'worker-*']);
    const [{ id: grant } = { id: '' }] = (await machine.allowList()).grants;
    const lease = { grant, expiresAt: now() - 10, endsAt: now() + 3600 };
    const publicKey = Buffer.from(signer.publicKey).toString('base64url');
    await before(lease, () =>
      trust.update((draft) => draft.put({ ...newDevice(id, 'renamed'), publicKey, lease })),
    );
    expect((await machine.amesh(['can', id])).stderr).toContain(
      machine.here("amesh grant --name 'worker-*'"),
    );
  });

  it('says no for a device that is not in the list, or was revoked', async () => {
    const { machine, trust, id } = await createTarget({ scopes: ['*'] });
    await trust.update((draft) => revokeDevice(draft, id, now()));
    expect((await machine.amesh(['can', 'nobody'])).stderr).toContain(
      '✗ No. No device is called "nobody".\n',
    );
    for (const device of [id, 'laptop', 'nobody', randomId()]) {
      const ran = await machine.amesh(['can', device, 'orders:read', '--json']);
      expect([ran.code, objectOf(ran)]).toMatchObject([
        11,
        { can: false, code: 'unknown_device', device: null },
      ]);
    }
  });

  it('gives no answer if there is none: several devices have the name, or a page is missing', async () => {
    const { machine, trust, id } = await createTarget({ scopes: ['*'] });
    await trust.update((draft) => draft.put(newDevice(undefined, 'laptop')));
    expect((await machine.amesh(['can', 'laptop', 'a'])).code).toBe(2);
    await withDevices(trust, Array.from({ length: 600 }, randomId));
    const { pages } = await trust.open();
    for (const [hash, page] of pages)
      if (Buffer.from(page).includes(id)) await writeFile(join(machine.dir, 'list', hash), 'x');
    const ran = objectOf(await machine.amesh(['can', id, 'a', '--json']));
    expect(ran).toMatchObject({ ok: false, error: { code: 'allow_list_unavailable' } });
  });

  it.each(['orders:*', '*', 'A', ''])('refuses %j, which no request can need', async (scope) => {
    const { machine } = await createTarget();
    expect((await machine.amesh(['can', 'laptop', scope])).code).toBe(2);
  });
});
