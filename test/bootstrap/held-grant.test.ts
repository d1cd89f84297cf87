import { join } from 'node:path';
import type { Amesh } from '@authmesh/sdk';
import { addDevice, createIdentity, type Device, openDevice, revokeDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { callsOf } from '../support/calls-of';
import type { EnrollingTarget } from '../support/enrolling';
import { changeDevices, documentOf } from '../support/list-document';
import { useEnrolling } from '../support/use-enrolling';

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
