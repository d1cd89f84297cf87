import type { Role } from '../../core/devices/allow-list';
import { isScopePattern } from '../../core/devices/scopes';
import { fromBase64Url } from '../../core/encoding';
import { AllowListIntegrityError } from '../../core/errors/amesh-error';
import { isDeviceId } from '../../core/wire/credentials';
import { hasMembers, isCount, isListOf, isText } from './members';

/** A device that a list names. */
export interface DeviceEntry {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** For people: at most 64 code points. Several devices may have the same name. */
  readonly friendlyName: string;
  /** What it may do; at least one role. */
  readonly roles: readonly Role[];
  /** For a target: the authorities at which it is called. The head of the list has them. */
  readonly hosts: readonly string[];
  /** Unix seconds. */
  readonly addedAt: number;
  /** For a controller: what it may do. Absent: nothing that requires a scope. */
  readonly scopes?: readonly string[];
  /** Unix seconds after which it is not trusted any more. Absent: trust has no end. */
  readonly expiresAt?: number;
  /** For a controller that enrolled by a grant: until when it may call. */
  readonly lease?: Lease;
  /** For a target: false where it cannot prove its answers. Absent: it can. */
  readonly proves?: false;
  /** The IDs that it had before its key was rotated, the latest last; at most 16. */
  readonly was?: readonly string[];
  /** The device that is to follow it after a rotation. */
  readonly next?: string;
  /** Unix seconds; statements that its key signed earlier do not count. */
  readonly keysSince?: number;
  /** For a target: it has not yet shown that it trusts this device. */
  readonly unconfirmed?: true;
}

/** A device as a page has it. */
export type DeviceLine = Omit<DeviceEntry, 'hosts'>;

/** For how long a controller that enrolled by a grant may call. */
export interface Lease {
  /** The ID of the grant. */
  readonly grant: string;
  /** Unix seconds; moves on with use. */
  readonly expiresAt: number;
  /** Unix seconds beyond which it never moves. */
  readonly endsAt: number;
}

/** A device that was revoked, remembered until no old token or statement can bring it back. */
export interface Tombstone {
  /** The device that was revoked. */
  readonly deviceId: string;
  /** Unix seconds. */
  readonly revokedAt: number;
  /** Unix seconds after which it may be forgotten. */
  readonly until: number;
}

/** What a line of a page says. */
export type Entry =
  | { readonly kind: 'device'; readonly device: DeviceLine }
  | { readonly kind: 'tombstone'; readonly tombstone: Tombstone }
  /** A device with an algorithm that this version does not know: unknown to readers, kept by writers. */
  | { readonly kind: 'foreign'; readonly deviceId: string };

/** What to do about a list that its owner sealed and that is of no form that this version knows. */
export const NEWER_AMESH = { fix: 'Use the version of amesh that wrote it, or a newer one.' };

/** The algorithm of all keys that this version knows: ECDSA over P-256 with SHA-256 (RFC 7518 section 3.4). */
const ALG = 'ES256';

/** How many former IDs an entry keeps. */
export const MAX_FORMER_IDS = 16;

const DEVICE = ['id', 'key', 'alg', 'name', 'roles', 'addedAt'];
const DEVICE_OPTIONS = ['scopes', 'expiresAt', 'lease', 'proves', 'was', 'next', 'keysSince', 'unconfirmed'];
const TOMBSTONE = ['id', 'revokedAt', 'until'];
const LEASE = ['grant', 'expiresAt', 'endsAt'];

/** One line of JSON, without its line feed, as {@link readEntry} takes it. */
export function toLine(entry: DeviceLine | Tombstone): string {
  if ('until' in entry) {
    const { deviceId: id, revokedAt, until } = entry;
    return JSON.stringify({ id, revokedAt, until });
  }
  const { deviceId: id, publicKey: key, friendlyName: name, roles, addedAt, ...options } = entry;
  const lease = options.lease && {
    grant: options.lease.grant,
    expiresAt: options.lease.expiresAt,
    endsAt: options.lease.endsAt,
  };
  // In one order, so that an entry that did not change has the same line.
  const given = Object.entries({ ...options, lease }).sort(([a], [b]) => rankOf(a) - rankOf(b));
  return JSON.stringify({ id, key, alg: ALG, name, roles, addedAt, ...Object.fromEntries(given) });
}

function rankOf(option: string): number {
  return DEVICE_OPTIONS.indexOf(option);
}

/**
 * What a line says.
 *
 * @param value the parsed line
 * @returns null where it is not of a form that this version knows. A member that it does not know may limit the trust
 *   in a device, so it must not be passed over.
 */
export function readEntry(value: unknown): Entry | null {
  const { id, alg } = (value ?? {}) as { id?: unknown; alg?: unknown };
  if (!isText(id) || !isDeviceId(id)) return null;
  if (isText(alg) && alg !== ALG) return { kind: 'foreign', deviceId: id };
  if (hasMembers(value, TOMBSTONE)) {
    const { revokedAt, until } = value;
    if (!isCount(revokedAt) || !isCount(until)) return null;
    return { kind: 'tombstone', tombstone: { deviceId: id, revokedAt, until } };
  }
  if (!hasMembers(value, DEVICE, DEVICE_OPTIONS) || !hasRightOptions(value)) return null;
  const { key, name, roles, addedAt, id: _, alg: __, ...options } = value;
  if (!isKey(key) || !isText(name) || !isCount(addedAt)) return null;
  if (!isListOf(roles, isRole) || roles.length === 0) return null;
  const device = { deviceId: id, publicKey: key, friendlyName: name, roles, addedAt, ...options };
  return { kind: 'device', device };
}

/** The device that an entry is about. */
export function idOf(entry: Entry): string {
  if (entry.kind === 'device') return entry.device.deviceId;
  return entry.kind === 'tombstone' ? entry.tombstone.deviceId : entry.deviceId;
}

/** For an entry that the owner sealed, and that is of no form that this version knows. */
export function unknownEntry(): AllowListIntegrityError {
  return new AllowListIntegrityError(
    'This version of amesh does not understand the allow list.',
    NEWER_AMESH,
  );
}

function hasRightOptions(value: Record<string, unknown>): boolean {
  const is = (name: string, isRight: (member: unknown) => boolean) =>
    !Object.hasOwn(value, name) || isRight(value[name]);
  return (
    is('scopes', (scopes) => isListOf(scopes, isScopePattern)) &&
    is('expiresAt', isCount) &&
    is('lease', isLease) &&
    is('proves', (proves) => proves === false) &&
    is('was', (was) => isListOf(was, isText) && was.length <= MAX_FORMER_IDS && was.every(isDeviceId)) &&
    is('next', (next) => isText(next) && isDeviceId(next)) &&
    is('keysSince', isCount) &&
    is('unconfirmed', (unconfirmed) => unconfirmed === true)
  );
}

function isLease(value: unknown): boolean {
  if (!hasMembers(value, LEASE)) return false;
  return isText(value.grant) && isCount(value.expiresAt) && isCount(value.endsAt);
}

function isRole(value: unknown): value is Role {
  return value === 'controller' || value === 'target';
}

/** A compressed point by its form; that it is one of the curve shows when it is imported. */
function isKey(value: unknown): value is string {
  if (!isText(value)) return false;
  const point = fromBase64Url(value);
  return point?.length === 33 && (point[0] === 2 || point[0] === 3);
}
