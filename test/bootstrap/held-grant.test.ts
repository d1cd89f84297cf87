import { join } from 'node:path';
import type { Amesh } from '@authmesh/sdk';
import {
  addDevice,
  createIdentity,
  type Device,
  type DeviceIdentity,
  openDevice,
  revokeDevice,
} from '@authmesh/sdk/admin';
import { describe, expect, it, vi } from 'vitest';
import { callsOf } from '../support/calls-of';
import type { EnrollingTarget } from '../support/enrolling';
import { changeDevices, documentOf } from '../support/list-document';
import { useEnrolling } from '../support/use-enrolling';
import { SOON } from '../support/waiting';

// What a person decides on a machine that calls outweighs a grant in its environment.

const enrolling = useEnrolling();

const now = () => Math.floor(Date.now() / 1000);
const said = () =>
  callsOf(enrolling.logged)
    .map(([line]: unknown[]) => String(line))
    .join('\n');
/** Processes look at their lists at most so late. */
const untilRead = () => new Promise((resolve) => setTimeout(resolve, 300));

interface Caller {
  readonly dir: string;
  readonly device: Device;
  /** Another process of the same machine. */
  start(token: string): Amesh;
}

async function createCaller(): Promise<Caller> {
  const dir = join(enrolling.root, 'caller');
  await createIdentity(dir, {}, { friendlyName: 'worker-1' });
  return { dir, device: await openDevice(dir, {}), start: (token) => enrolling.caller(token, { dir }) };
}

const idOf = ({ device }: EnrollingTarget) => device.identity.deviceId;
const revoke = ({ device }: Caller, target: EnrollingTarget) =>
  device.trust.update((draft) => revokeDevice(draft, idOf(target), now()));
const trust = ({ device }: Caller, target: EnrollingTarget, role: 'controller' | 'target', hosts: string[]) =>
  device.trust.update((draft) => addDevice(draft, { ...target.device.identity, role, hosts }, now()));
/** The devices of a caller's list, and whether the target is remembered as revoked. */
async function listOf({ device }: Caller, target: EnrollingTarget) {
  const { devices, tombstones } = await documentOf(device.trust);
  const isRevoked = tombstones.some(({ deviceId }) => deviceId === idOf(target));
  return { devices: devices.map(({ deviceId, roles }) => [deviceId, ...roles]), isRevoked };
}
/** The ID in a signed request; undefined if nothing may be signed for that host. */
async function namedBy(amesh: Amesh, { origin }: EnrollingTarget): Promise<string | undefined> {
  const signed = await amesh.sign({ url: origin }).catch(() => undefined);
  return (signed && new Headers(signed.headers as [string, string][]).get('authmesh-target')) || undefined;
}
/** The target forgets its callers: their leases end. */
const endLeases = (target: EnrollingTarget) =>
  changeDevices(target.device.trust, (device) => ({
    ...device,
    ...(device.lease && { lease: { ...device.lease, expiresAt: now() - 5 } }),
  }));

describe('a target that was revoked on the caller', () => {
  it('is neither named nor brought back by the process that had enrolled there', async () => {
    const [target, caller] = [await enrolling.target(), await createCaller()];
    const amesh = caller.start((await target.grant()).token);
    expect((await amesh.fetch(target.origin)).status).toBe(200);
    expect(await namedBy(amesh, target)).toBe(idOf(target));
    await revoke(caller, target);
    await untilRead();
    expect(await namedBy(amesh, target)).toBeUndefined();
    await endLeases(target);
    await untilRead();
    expect((await amesh.fetch(target.origin)).status).toBe(401);
    expect((await amesh.fetch(target.origin)).status).toBe(401);
    expect(target.captured).toHaveLength(1);
    expect(await listOf(caller, target)).toEqual({ devices: [], isRevoked: true });
    expect(said()).toContain('token_revoked: The issuer of the token (');
  });

  it('is not brought back by a restart after its lease, while the grant is open', async () => {
    const [target, caller] = [await enrolling.target(), await createCaller()];
    const { token } = await target.grant();
    expect((await caller.start(token).fetch(target.origin)).status).toBe(200);
    await caller.device.trust.update((draft) =>
      draft.change({
        tokens: draft.head.tokens.map((each) =>
          each.kind === 'taken' ? { ...each, until: now() - 1 } : each,
        ),
      }),
    );
    await revoke(caller, target);
    const again = caller.start(token);
    expect((await again.fetch(target.origin)).status).toBe(200); // the target still knows the caller
    expect(await namedBy(again, target)).toBeUndefined();
    expect(target.captured).toHaveLength(1);
    expect(await listOf(caller, target)).toEqual({ devices: [], isRevoked: true });
    expect(said()).toContain('AMESH_BOOTSTRAP_TOKEN was not taken, token_revoked: ');
  });

  it('is not brought back by a restart while the enrolment lasts', async () => {
    const [target, caller] = [await enrolling.target(), await createCaller()];
    const { token } = await target.grant();
    expect((await caller.start(token).fetch(target.origin)).status).toBe(200);
    await revoke(caller, target);
    await endLeases(target);
    await untilRead();
    expect((await caller.start(token).fetch(target.origin)).status).toBe(401);
    expect(target.captured).toHaveLength(1);
    expect(await listOf(caller, target)).toEqual({ devices: [], isRevoked: true });
  });

  it('is not brought back by a grant that it had issued before', async () => {
    const [target, caller] = [await enrolling.target(), await createCaller()];
    await trust(caller, target, 'target', [target.authority]);
    const { token } = await target.grant();
    await revoke(caller, target);
    expect((await caller.start(token).fetch(target.origin)).status).toBe(401);
    expect([target.captured, (await target.list()).grants]).toMatchObject([[], [{ used: 0 }]]);
    expect(await listOf(caller, target)).toEqual({ devices: [], isRevoked: true });
    expect(said()).toContain('AMESH_BOOTSTRAP_TOKEN was not taken, token_revoked: ');
  });

  it('comes back by a grant that it issued afterwards', async () => {
    const [target, caller] = [await enrolling.target(), await createCaller()];
    await trust(caller, target, 'target', [target.authority]);
    await caller.device.trust.update((draft) => revokeDevice(draft, idOf(target), now() - 1));
    expect((await caller.start((await target.grant()).token).fetch(target.origin)).status).toBe(200);
    expect(await listOf(caller, target)).toEqual({ devices: [[idOf(target), 'target']], isRevoked: false });
  });

  it('between the enrolment and the first response, stays revoked', async () => {
    const [target, caller] = [await enrolling.target(), await createCaller()];
    const amesh = caller.start((await target.grant({ hosts: [target.authority] })).token);
    expect(await amesh.bootstrapIfNeeded()).toBe(true);
    expect(await namedBy(amesh, target)).toBe(idOf(target));
    const signed = await amesh.sign({ url: target.origin });
    await trust(caller, target, 'target', [target.authority]);
    await revoke(caller, target);
    const headers = signed.headers as [string, string][];
    const { response } = await signed.answered(await fetch(target.origin, { headers }));
    expect(response.status).toBe(200);
    expect(await listOf(caller, target)).toEqual({ devices: [], isRevoked: true });
    expect(said()).toContain('token_revoked: ');
    expect(said()).not.toContain('AMESH_BOOTSTRAP_TOKEN was taken');
    await untilRead();
    expect(await namedBy(amesh, target)).toBeUndefined();
  });

  it('and then trusted as a controller only, does not become a target again', async () => {
    const [target, caller] = [await enrolling.target(), await createCaller()];
    const { token } = await target.grant();
    const amesh = caller.start(token);
    expect((await amesh.fetch(target.origin)).status).toBe(200);
    await revoke(caller, target);
    await trust(caller, target, 'controller', []);
    await endLeases(target);
    await untilRead();
    expect((await amesh.fetch(target.origin)).status).toBe(401);
    expect((await caller.start(token).fetch(target.origin)).status).toBe(401);
    expect(target.captured).toHaveLength(1);
    expect((await listOf(caller, target)).devices).toEqual([[idOf(target), 'controller']]);
  });
});

it('another target that a person trusts at the host of a grant is the one that is called', async () => {
  const [target, caller] = [await enrolling.target(), await createCaller()];
  const amesh = caller.start((await target.grant()).token);
  expect((await amesh.fetch(target.origin)).status).toBe(200);
  const next = await createIdentity(join(enrolling.root, 'next'), {}, { friendlyName: 'next' });
  await revoke(caller, target);
  await caller.device.trust.update((draft) =>
    addDevice(draft, { ...next, role: 'target', hosts: [target.authority] }, now()),
  );
  await untilRead();
  expect(await namedBy(amesh, target)).toBe(next.deviceId);
});

describe('a host that another target of the list has', () => {
  const create = async (): Promise<[EnrollingTarget, Caller, DeviceIdentity]> => [
    await enrolling.target(),
    await createCaller(),
    await createIdentity(join(enrolling.root, 'old'), {}, { friendlyName: 'api-old' }),
  ];
  const trustOld = ({ device }: Caller, old: DeviceIdentity, authority: string) =>
    device.trust.update((draft) => addDevice(draft, { ...old, role: 'target', hosts: [authority] }, now()));

  it('stays there, and no use of the grant is lost, until a person revokes that target', async () => {
    const [target, caller, old] = await create();
    await trustOld(caller, old, target.authority);
    const { token } = await target.grant({ hosts: [target.authority] });
    const amesh = caller.start(token);
    for (let call = 0; call < 2; call++) expect((await amesh.fetch(target.origin)).status).toBe(401);
    expect(await amesh.bootstrapIfNeeded()).toBe(false);
    expect([target.captured, (await target.list()).grants]).toMatchObject([[], [{ used: 0 }]]);
    expect((await listOf(caller, target)).devices).toEqual([[old.deviceId, 'target']]);
    expect(said()).toContain(
      `AMESH_BOOTSTRAP_TOKEN was not taken, host_taken: ${target.authority} already belongs to "api-old". Use another host, or first run: amesh revoke ${old.deviceId}`,
    );
    expect(said()).not.toContain('Another host was called');
    await caller.device.trust.update((draft) => revokeDevice(draft, old.deviceId, now()));
    await vi.waitUntil(async () => (await amesh.fetch(target.origin)).ok, SOON);
    expect((await listOf(caller, target)).devices).toEqual([[idOf(target), 'target']]);
    expect((await target.list()).grants).toMatchObject([{ used: 1 }]);
  });

  it('stays there if the grant names it beside the host that is called', async () => {
    const [target, caller, old] = await create();
    await trustOld(caller, old, 'localhost:1');
    const { token } = await target.grant({ hosts: ['localhost:1', target.authority] });
    const amesh = caller.start(token);
    await expect(amesh.fetch('http://localhost:1')).rejects.toThrow(); // nobody is there
    expect((await amesh.fetch(target.origin)).status).toBe(200); // and this one is not late by that
    const { targets } = (await caller.device.trust.read()).head;
    expect(targets).toEqual([
      [target.authority, idOf(target)],
      ['localhost:1', old.deviceId],
    ]);
    expect(said()).toContain('localhost:1 stays with another target of the list.');
  });

  it('does not end a grant by its responses', async () => {
    const [other, target, caller] = [
      await enrolling.target(),
      await enrolling.target(),
      await createCaller(),
    ];
    await trust(caller, other, 'target', [other.authority]);
    await other.device.trust.update((draft) =>
      addDevice(draft, { ...caller.device.identity, role: 'controller', hosts: [] }, now()),
    );
    const amesh = caller.start((await target.grant({ hosts: [target.authority, other.authority] })).token);
    expect(await amesh.bootstrapIfNeeded()).toBe(true);
    expect((await amesh.fetch(other.origin)).status).toBe(200);
    expect((await amesh.fetch(target.origin)).status).toBe(200);
    const { targets } = (await caller.device.trust.read()).head;
    expect(new Map(targets)).toEqual(
      new Map([
        [target.authority, idOf(target)],
        [other.authority, idOf(other)],
      ]),
    );
    expect(said()).not.toContain('host_taken');
  });

  it('is not lost while a process of the old target still answers there', async () => {
    const [old, target, caller] = [await enrolling.target(), await enrolling.target(), await createCaller()];
    await trust(caller, old, 'target', [old.authority]);
    await old.device.trust.update((draft) =>
      addDevice(draft, { ...caller.device.identity, role: 'controller', hosts: [] }, now()),
    );
    const { token } = await target.grant({ hosts: [old.authority] });
    expect((await caller.start(token).fetch(old.origin)).status).toBe(200);
  });

  it('is not lost if it was trusted between the enrolment and the first response', async () => {
    const [target, caller, old] = await create();
    const amesh = caller.start((await target.grant({ hosts: [target.authority] })).token);
    expect(await amesh.bootstrapIfNeeded()).toBe(true);
    const signed = await amesh.sign({ url: target.origin });
    await trustOld(caller, old, target.authority);
    const headers = signed.headers as [string, string][];
    await signed.answered(await fetch(target.origin, { headers }));
    expect((await listOf(caller, target)).devices).toEqual([[old.deviceId, 'target']]);
    expect(said()).toContain(`host_taken: ${target.authority} already belongs to "api-old".`);
    expect(said()).not.toContain('AMESH_BOOTSTRAP_TOKEN was taken');
  });

  it('is no obstacle if that target has moved to the key that issued the grant', async () => {
    const [target, caller, old] = await create();
    const { deviceId, publicKey } = target.device.identity;
    await caller.device.trust.update((draft) =>
      draft.put({
        deviceId: old.deviceId,
        publicKey: old.publicKey,
        friendlyName: old.friendlyName,
        roles: ['target'],
        hosts: [target.authority],
        addedAt: now(),
        keys: [
          { deviceId: old.deviceId, publicKey: old.publicKey, until: now() + 9000 },
          { deviceId, publicKey },
        ],
      }),
    );
    await target.device.trust.update((draft) => draft.change({ was: [old.deviceId] })); // it answers to its former ID
    await untilRead();
    const { token } = await target.grant();
    for (let start = 0; start < 2; start++)
      expect((await caller.start(token).fetch(target.origin)).status).toBe(200);
    expect(target.captured).toHaveLength(1);
    expect((await listOf(caller, target)).devices).toEqual([[old.deviceId, 'target']]);
    // To revoke that target ends its grant, too, whichever key it had issued it with.
    await caller.device.trust.update((draft) => revokeDevice(draft, old.deviceId, now()));
    await endLeases(target);
    await untilRead();
    expect((await caller.start(token).fetch(target.origin)).status).toBe(401);
    expect(target.captured).toHaveLength(1);
    expect((await listOf(caller, target)).devices).toEqual([]);
  });
});
