import { AmeshError } from '../core/errors/amesh-error';
import { addDevice, dismissController, replaceDevice, revokeDevice } from './changes';
import { TRUST_CODES } from './errors/codes';
import type { AllowListDocument, DeviceEntry, Grant, Lease } from './list/document';
import { cleanName } from './names';

/** A caller that proved that it holds the key of a grant, and its own private key. */
export interface Enrollee {
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  readonly friendlyName: string;
}

/** A grant that this device issued and still remembers. */
export function findGrant(document: AllowListDocument, id: string): Grant | undefined {
  return document.grants.find((grant) => grant.id === id);
}

/** @throws AmeshError `enrolment_refused` if this device remembers no such grant */
export function expectGrant(document: AllowListDocument, id: string): Grant {
  const grant = findGrant(document, id);
  if (grant !== undefined) return grant;
  throw new AmeshError(
    TRUST_CODES.enrolment_refused,
    'There is no such grant: it was revoked, has long expired, or never existed.',
  );
}

/** Adds a grant. */
export function addGrant(document: AllowListDocument, grant: Grant, nowSeconds: number): AllowListDocument {
  const swept = sweep(document, nowSeconds);
  return { ...swept, grants: [...swept.grants, grant] };
}

/**
 * Checks whether a grant admits a caller. This is cheaper than adding the caller to the list.
 *
 * @returns the grant; null if the caller is already in the list
 * @throws AmeshError `enrolment_refused` if the grant is gone or the caller was revoked, `grant_expired`,
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
      `${caller.deviceId} was revoked, so a grant cannot bring it back.`,
    );
  const known = document.devices.find(({ deviceId }) => deviceId === caller.deviceId);
  if (known !== undefined && known.publicKey !== caller.publicKey)
    throw new AmeshError(TRUST_CODES.key_mismatch);
  if (known?.roles.includes('controller')) return null;
  if (nowSeconds >= grant.expiresAt) throw new AmeshError(TRUST_CODES.grant_expired);
  if (grant.used >= grant.uses)
    throw new AmeshError(TRUST_CODES.grant_used_up, `All ${grant.uses} uses of the grant are used up.`);
  return grant;
}

/**
 * Adds a caller to the list by a grant, and counts the use. A caller that is already in the list is not counted again.
 *
 * @throws AmeshError like {@link admit}; `own_key`
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

/** Whether a lease is in its second half, so that the next request renews it. */
export function isDue({ expiresAt, endsAt }: Lease, leaseSeconds: number, nowSeconds: number): boolean {
  return expiresAt < endsAt && nowSeconds <= expiresAt && expiresAt - nowSeconds <= leaseSeconds / 2;
}

/**
 * Renews the leases of devices that made requests. It skips devices and grants that are gone: a device that was revoked
 * in the meantime stays revoked, and an expired lease stays expired.
 *
 * @returns the same document if no lease is due
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

/** The devices that were added by a grant and are still in the list. */
export function grantedDevices(document: AllowListDocument, id: string): DeviceEntry[] {
  return document.devices.filter(({ lease }) => lease?.grant === id);
}

/** Closes a grant to new callers. Callers that it already added stay until their leases end. */
export function closeGrant(document: AllowListDocument, id: string, nowSeconds: number): AllowListDocument {
  const grant = findGrant(document, id);
  if (grant === undefined || grant.expiresAt <= nowSeconds) return document;
  const grants = document.grants.map((other) =>
    other === grant ? { ...grant, expiresAt: nowSeconds } : other,
  );
  return { ...document, grants };
}

/**
 * Revokes a grant, and every device that was added by it.
 *
 * @returns the same document if it has neither the grant nor any of its devices
 */
export function revokeGrant(document: AllowListDocument, id: string, nowSeconds: number): AllowListDocument {
  const devices = grantedDevices(document, id);
  if (findGrant(document, id) === undefined && devices.length === 0) return document;
  let left: AllowListDocument = { ...document, grants: document.grants.filter((grant) => grant.id !== id) };
  for (const { deviceId, roles } of devices) {
    // The tombstone prevents that another grant lets the key in again.
    const end = roles.includes('target') ? dismissController : revokeDevice;
    left = end(left, deviceId, nowSeconds);
  }
  return left;
}

/** Removes devices with expired leases, and expired grants without devices. */
function sweep(document: AllowListDocument, nowSeconds: number): AllowListDocument {
  const isOver = ({ lease }: DeviceEntry) => lease !== undefined && lease.expiresAt < nowSeconds;
  // Checked first: most lists have nothing to remove, and a list can be long.
  const devices = document.devices.some(isOver)
    ? document.devices.flatMap((device) => (isOver(device) ? withoutLease(device) : [device]))
    : document.devices;
  const grants = document.grants.filter(
    ({ id, expiresAt }) => expiresAt > nowSeconds || devices.some(({ lease }) => lease?.grant === id),
  );
  const isSame = devices === document.devices && grants.length === document.grants.length;
  return isSame ? document : { ...document, devices, grants };
}

/** Removes the lease and the controller role; returns nothing if no role is left. */
function withoutLease({ lease: _, ...entry }: DeviceEntry): DeviceEntry[] {
  const roles = entry.roles.filter((role) => role !== 'controller');
  return roles.length === 0 ? [] : [{ ...entry, roles }];
}
