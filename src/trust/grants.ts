import { AmeshError } from '../core/errors/amesh-error';
import { addDevice, dismissController, replaceDevice, revokeDevice } from './changes';
import { TRUST_CODES } from './errors/codes';
import type { AllowListDocument, DeviceEntry, Grant, Lease } from './list/document';
import { cleanName } from './names';

/** A caller that has proven that it holds the key of a grant, and its own. */
export interface Enrollee {
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  readonly friendlyName: string;
}

/** A grant that this device has given and still remembers. */
export function findGrant(document: AllowListDocument, id: string): Grant | undefined {
  return document.grants.find((grant) => grant.id === id);
}

/** @throws AmeshError `enrolment_refused` where it has given no such grant */
export function expectGrant(document: AllowListDocument, id: string): Grant {
  const grant = findGrant(document, id);
  if (grant !== undefined) return grant;
  throw new AmeshError(
    TRUST_CODES.enrolment_refused,
    'There is no such grant: never given, revoked, or long over.',
  );
}

/** Adds a grant. */
export function addGrant(document: AllowListDocument, grant: Grant, nowSeconds: number): AllowListDocument {
  const swept = sweep(document, nowSeconds);
  return { ...swept, grants: [...swept.grants, grant] };
}

/**
 * Checks whether a grant admits a caller, which costs less than to put the caller into the list.
 *
 * @returns the grant; null where the caller is there already
 * @throws AmeshError `enrolment_refused` where the grant is gone or the caller was revoked, `grant_expired`,
 *   `grant_used_up`; `key_mismatch`
 */
export function admit(
  document: AllowListDocument,
  grantId: string,
  caller: Enrollee,
  nowSeconds: number,
): Grant | null {
  const grant = expectGrant(document, grantId);
  if (document.tombstones.some(({ deviceId }) => deviceId === caller.deviceId))
    throw new AmeshError(
      TRUST_CODES.enrolment_refused,
      `${caller.deviceId} was revoked, so it does not come back by a grant.`,
    );
  const known = document.devices.find(({ deviceId }) => deviceId === caller.deviceId);
  if (known !== undefined && known.publicKey !== caller.publicKey)
    throw new AmeshError(TRUST_CODES.key_mismatch);
  if (known?.roles.includes('controller')) return null;
  if (nowSeconds >= grant.expiresAt) throw new AmeshError(TRUST_CODES.grant_expired);
  if (grant.used >= grant.uses)
    throw new AmeshError(TRUST_CODES.grant_used_up, `All ${grant.uses} uses of the grant are taken.`);
  return grant;
}

/**
 * Puts a caller into the list by a grant, and counts it. One that is there already is not counted again.
 *
 * @throws AmeshError as {@link admit}; `own_key`
 */
export function enrolCaller(
  document: AllowListDocument,
  grantId: string,
  caller: Enrollee,
  nowSeconds: number,
): AllowListDocument {
  const swept = sweep(document, nowSeconds);
  const grant = admit(swept, grantId, caller, nowSeconds);
  if (grant === null) return document;

  const endsAt = nowSeconds + grant.maxLeaseSeconds;
  const lease: Lease = {
    grant: grant.id,
    expiresAt: Math.min(nowSeconds + grant.leaseSeconds, endsAt),
    endsAt,
  };
  const friendlyName = cleanName(caller.friendlyName);
  const added = addDevice(swept, { ...caller, friendlyName, role: 'controller', hosts: [] }, nowSeconds);
  const entry = added.devices.find(({ deviceId }) => deviceId === caller.deviceId) as DeviceEntry;
  const counted = added.grants.map((other) => (other === grant ? { ...grant, used: grant.used + 1 } : other));
  return { ...replaceDevice(added, entry, { ...entry, lease }), grants: counted };
}

/** Whether a lease is so near its end that use moves it on. */
export function isDue({ expiresAt, endsAt }: Lease, leaseSeconds: number, nowSeconds: number): boolean {
  return expiresAt < endsAt && nowSeconds <= expiresAt && expiresAt - nowSeconds <= leaseSeconds / 2;
}

/**
 * Extends the leases that were used. It passes over devices and grants that are gone: a device that was revoked in the
 * meantime stays revoked, and a lease that has ended stays ended.
 *
 * @returns the same document where none is due
 */
export function renewLeases(
  document: AllowListDocument,
  ids: ReadonlySet<string>,
  nowSeconds: number,
): AllowListDocument {
  let changed = false;
  const devices = document.devices.map((device) => {
    const { lease } = device;
    const grant = lease && ids.has(device.deviceId) ? findGrant(document, lease.grant) : undefined;
    if (lease === undefined || grant === undefined || !isDue(lease, grant.leaseSeconds, nowSeconds))
      return device;
    changed = true;
    return {
      ...device,
      lease: { ...lease, expiresAt: Math.min(nowSeconds + grant.leaseSeconds, lease.endsAt) },
    };
  });
  return changed ? sweep({ ...document, devices }, nowSeconds) : document;
}

/** The devices that came by a grant and are still there. */
export function grantedDevices(document: AllowListDocument, id: string): DeviceEntry[] {
  return document.devices.filter(({ lease }) => lease?.grant === id);
}

/** Ends a grant to callers that have not come yet; the others stay as long as their leases do. */
export function closeGrant(document: AllowListDocument, id: string, nowSeconds: number): AllowListDocument {
  const grant = findGrant(document, id);
  if (grant === undefined || grant.expiresAt <= nowSeconds) return document;
  const grants = document.grants.map((other) =>
    other === grant ? { ...grant, expiresAt: nowSeconds } : other,
  );
  return { ...document, grants };
}

/**
 * Revokes a grant, and every device that came by it.
 *
 * @returns the same document where it holds neither the grant nor such a device
 */
export function revokeGrant(document: AllowListDocument, id: string, nowSeconds: number): AllowListDocument {
  const devices = grantedDevices(document, id);
  if (findGrant(document, id) === undefined && devices.length === 0) return document;
  let left: AllowListDocument = { ...document, grants: document.grants.filter((grant) => grant.id !== id) };
  for (const { deviceId, roles } of devices) {
    // The tombstone keeps its key out, which another grant could let in again.
    const end = roles.includes('target') ? dismissController : revokeDevice;
    left = end(left, deviceId, nowSeconds);
  }
  return left;
}

/** Removes devices whose lease is over, and grants that are over and have no device left. */
function sweep(document: AllowListDocument, nowSeconds: number): AllowListDocument {
  const isOver = ({ lease }: DeviceEntry) => lease !== undefined && lease.expiresAt < nowSeconds;
  // Looked for first: of most lists nothing has to go, and they may be long.
  const devices = document.devices.some(isOver)
    ? document.devices.flatMap((device) => (isOver(device) ? withoutLease(device) : [device]))
    : document.devices;
  const grants = document.grants.filter(
    ({ id, expiresAt }) => expiresAt > nowSeconds || devices.some(({ lease }) => lease?.grant === id),
  );
  const isSame = devices === document.devices && grants.length === document.grants.length;
  return isSame ? document : { ...document, devices, grants };
}

/** What is left of a device whose lease is over. */
function withoutLease({ lease: _, ...entry }: DeviceEntry): DeviceEntry[] {
  const roles = entry.roles.filter((role) => role !== 'controller');
  return roles.length === 0 ? [] : [{ ...entry, roles }];
}
