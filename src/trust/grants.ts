import { AmeshError } from '../core/errors/amesh-error';
import { addDevice, dismissController } from './changes';
import { TRUST_CODES } from './errors/codes';
import type { ListDraft } from './format/draft';
import { hasEnded } from './format/ended';
import type { DeviceEntry, Lease, Tombstone } from './format/entry';
import type { ListHead } from './format/head';
import type { Grant } from './format/tokens';
import { isLeaseOver } from './rights/ends';
import { scopesMember } from './rights/scopes';
import { currentOf } from './rotation/chain';
import { isFromBefore } from './tokens';

/** A caller that has proved that it has the key of a grant, and its own private key. */
export interface Enrollee {
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  readonly friendlyName: string;
}

/** A grant that this device has issued and still remembers. */
export function findGrant({ grants }: Pick<ListHead, 'grants'>, id: string): Grant | undefined {
  return grants.find((grant) => grant.id === id);
}

/** @throws AmeshError `enrolment_refused` if there is no such grant */
export function expectGrant(list: Pick<ListHead, 'grants'>, id: string): Grant {
  const grant = findGrant(list, id);
  if (grant !== undefined) return grant;
  throw new AmeshError(
    TRUST_CODES.enrolment_refused,
    'There is no such grant: it was revoked, has long expired, or never existed.',
  );
}

/** Adds a grant, and forgets grants whose last lease has ended. */
export function addGrant(draft: ListDraft, grant: Grant, nowSeconds: number): void {
  const grants = draft.head.grants.filter(
    ({ expiresAt, maxLeaseSeconds }) => expiresAt + maxLeaseSeconds > nowSeconds,
  );
  draft.change({ grants: [...grants, grant] });
}

/**
 * Checks whether a grant admits a caller. This costs less than adding the caller to the list.
 *
 * @param known what the list says about the caller
 * @returns the grant; null if the caller is already in the list
 * @throws AmeshError `enrolment_refused` if the grant is gone or the caller was revoked as one, `grant_expired`,
 *   `grant_used_up`; `key_mismatch`
 */
export function admit(
  list: Pick<ListHead, 'grants'>,
  known: { readonly entry: DeviceEntry | undefined; readonly tombstone: Tombstone | undefined },
  grantId: string,
  caller: Enrollee,
  nowSeconds: number,
): Grant | null {
  const grant = expectGrant(list, grantId);
  // A tombstone whose time is over stays until its page changes. It must not say more than one that has been forgotten.
  if (known.tombstone !== undefined && !hasEnded(known.tombstone.until, nowSeconds))
    throw new AmeshError(
      TRUST_CODES.enrolment_refused,
      `${caller.deviceId} was revoked, so a grant cannot bring it back.`,
    );
  const { entry } = known;
  if (isFromBefore(grant.issuedAt, entry ?? known.tombstone, 'controller'))
    throw new AmeshError(
      TRUST_CODES.enrolment_refused,
      `${caller.deviceId} was revoked as a caller, or its working keys were revoked, after the grant was issued, so the grant cannot bring it back.`,
    );
  if (entry?.retiresAt !== undefined)
    throw new AmeshError(
      TRUST_CODES.enrolment_refused,
      `${caller.deviceId} was replaced by ${entry.next}, so a grant cannot bring it back.`,
    );
  if (entry?.pending)
    throw new AmeshError(
      TRUST_CODES.enrolment_refused,
      `${caller.deviceId} waits to replace ${entry.was?.at(-1)}, so a grant cannot admit it.`,
    );
  if (entry?.expiresAt !== undefined && hasEnded(entry.expiresAt, nowSeconds))
    throw new AmeshError(
      TRUST_CODES.enrolment_refused,
      `The trust in ${caller.deviceId} has ended, so a grant cannot renew it.`,
      { fix: 'If it may call again', command: ['amesh', 'allow', caller.deviceId, '--expires', 'never'] },
    );
  if (entry !== undefined && entry.publicKey !== caller.publicKey)
    throw new AmeshError(TRUST_CODES.key_mismatch);
  if (entry?.roles.includes('controller') && !isLeaseOver(entry, nowSeconds)) return null;
  if (nowSeconds >= grant.expiresAt) throw new AmeshError(TRUST_CODES.grant_expired);
  if (grant.used >= grant.uses)
    throw new AmeshError(TRUST_CODES.grant_used_up, `All ${grant.uses} uses of the grant are used up.`);
  return grant;
}

/**
 * Adds a caller to the list with a grant, and counts the use. A caller that is already in the list is not counted again.
 *
 * @throws AmeshError like {@link admit}; `own_key`
 */
export async function enrolCaller(
  draft: ListDraft,
  grantId: string,
  caller: Enrollee,
  nowSeconds: number,
): Promise<void> {
  const entry = await draft.device(caller.deviceId);
  const tombstone = await draft.tombstone(caller.deviceId);
  const grant = admit(draft.head, { entry, tombstone }, grantId, caller, nowSeconds);
  if (grant === null) return;
  const endsAt = nowSeconds + grant.maxLeaseSeconds;
  const lease: Lease = {
    grant: grant.id,
    expiresAt: Math.min(nowSeconds + grant.leaseSeconds, endsAt),
    endsAt,
  };
  await addDevice(draft, { ...caller, role: 'controller', hosts: [] }, nowSeconds);
  // The scopes of an earlier lease do not come back: the caller gets those of this grant.
  const { scopes: _, ...added } = (await draft.device(caller.deviceId)) as DeviceEntry;
  await draft.put({ ...added, lease, ...scopesMember(grant.scopes ?? []) });
  replaceGrant(draft, { ...grant, used: grant.used + 1 });
}

/** Whether a lease is in its second half. The next request then renews it. */
export function isDue({ expiresAt, endsAt }: Lease, leaseSeconds: number, nowSeconds: number): boolean {
  return expiresAt < endsAt && nowSeconds <= expiresAt && expiresAt - nowSeconds <= leaseSeconds / 2;
}

/**
 * Extends leases that were used. It skips devices and grants that are gone: a device that has been revoked stays revoked,
 * and a lease that has ended stays ended.
 */
export async function renewLeases(
  draft: ListDraft,
  ids: ReadonlySet<string>,
  nowSeconds: number,
): Promise<void> {
  for (const id of ids) {
    const device = await draft.device(await currentOf(draft, id));
    const grant = device?.lease && findGrant(draft.head, device.lease.grant);
    if (device?.lease === undefined || grant === undefined) continue;
    if (!isDue(device.lease, grant.leaseSeconds, nowSeconds)) continue;
    const expiresAt = Math.min(nowSeconds + grant.leaseSeconds, device.lease.endsAt);
    await draft.put({ ...device, lease: { ...device.lease, expiresAt } });
  }
}

/** The devices that enrolled with a grant and are still in the list. */
export function grantedDevices(list: { devices(): Iterable<DeviceEntry> }, id: string): DeviceEntry[] {
  return [...list.devices()].filter(({ lease }) => lease?.grant === id);
}

/** Ends a grant for new callers. Those that have enrolled stay until their leases end. */
export function closeGrant(draft: ListDraft, id: string, nowSeconds: number): void {
  const grant = findGrant(draft.head, id);
  if (grant !== undefined && grant.expiresAt > nowSeconds)
    replaceGrant(draft, { ...grant, expiresAt: nowSeconds });
}

/**
 * Revokes a grant, and every device that enrolled with it. A device that is also a target stays one.
 *
 * @param devices the devices to look through; default: all, which reads the whole list
 * @returns the revoked devices, as they were
 */
export async function revokeGrant(
  draft: ListDraft,
  id: string,
  nowSeconds: number,
  devices: AsyncIterable<DeviceEntry> | Iterable<DeviceEntry> = draft.devices(),
): Promise<DeviceEntry[]> {
  const gone: DeviceEntry[] = [];
  if (findGrant(draft.head, id) !== undefined)
    draft.change({ grants: draft.head.grants.filter((grant) => grant.id !== id) });
  for await (const device of devices) {
    const { deviceId, lease } = device;
    if (lease?.grant !== id) continue;
    gone.push(device);
    // A target stays one, also if its role is at a former key. The tombstones keep the other keys of the device out: without them,
    // another grant could admit the device again.
    await dismissController(draft, deviceId, nowSeconds);
  }
  return gone;
}

function replaceGrant(draft: ListDraft, grant: Grant): void {
  draft.change({ grants: draft.head.grants.map((other) => (other.id === grant.id ? grant : other)) });
}
