import type { ProvingKey, Role } from '../../core/devices/allow-list';
import { isScopePattern } from '../../core/devices/scopes';
import { fromBase64Url } from '../../core/encoding';
import { AllowListIntegrityError } from '../../core/errors/amesh-error';
import { isDeviceId } from '../../core/wire/credentials';
import { hasMembers, isCount, isListOf, isText } from './members';

/** A device in the list. */
export interface DeviceEntry {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** For people: at most 64 code points. Several devices may have the same name. */
  readonly friendlyName: string;
  /** At least one role; none while the device is {@link pending}, and after it was replaced. */
  readonly roles: readonly Role[];
  /** For a target: the authorities under which it is called. The head of the list holds them. */
  readonly hosts: readonly string[];
  /** Unix seconds. */
  readonly addedAt: number;
  /** For a controller: what it may do. Absent: nothing that requires a scope. */
  readonly scopes?: readonly string[];
  /** Unix seconds after which it is no longer trusted. Absent: trust has no end. */
  readonly expiresAt?: number;
  /** For a controller that enrolled with a grant: how long it may call. */
  readonly lease?: Lease;
  /** For a target: false if it cannot prove its answers. Absent: it can. */
  readonly proves?: false;
  /** For a target that has moved to another key: the keys that prove its answers, the present one last; 2 to 16. */
  readonly keys?: readonly ProvingKey[];
  /** The IDs that the device had before its key was rotated, the latest last: the first one and the latest 15. */
  readonly was?: readonly string[];
  /** The ID that the device has after the rotation: that of its next key. It stays here after that key was withdrawn or refused. */
  readonly next?: string;
  /**
   * Unix seconds after which this entry no longer counts, because `next` has replaced it. Until then it has the rights of `next`.
   */
  readonly retiresAt?: number;
  /** It waits until an administrator lets it replace the last device of `was`. Until then it may do nothing. */
  readonly pending?: true;
  /** Unix seconds. Statements of its key that begin earlier do not count. */
  readonly keysSince?: number;
  /** For a target: it has not yet shown that it trusts this device. */
  readonly unconfirmed?: true;
}

/** A device as a line of a page, without the hosts, which the head holds. */
export type DeviceLine = Omit<DeviceEntry, 'hosts'>;

/** How long a controller that enrolled with a grant may call. */
export interface Lease {
  /** The ID of the grant. */
  readonly grant: string;
  /** Unix seconds; use extends it. */
  readonly expiresAt: number;
  /** Unix seconds beyond which it is never extended. */
  readonly endsAt: number;
}

/** A revoked device, remembered until no old token or statement can bring it back. */
export interface Tombstone {
  /** The device that was revoked. */
  readonly deviceId: string;
  /** Unix seconds. */
  readonly revokedAt: number;
  /** Unix seconds after which it may be forgotten. */
  readonly until: number;
  /** The name of the device, if it was revoked because its key had named two next keys. */
  readonly conflict?: string;
}

/** One line of a page. */
export type Entry =
  | {
      /** What the line is. */
      readonly kind: 'device';
      /** The device. */
      readonly device: DeviceLine;
    }
  | {
      /** What the line is. */
      readonly kind: 'tombstone';
      /** The tombstone of a revoked device. */
      readonly tombstone: Tombstone;
    }
  /** A device with an algorithm that this version does not know: readers ignore it, writers keep it. */
  | {
      /** What the line is. */
      readonly kind: 'foreign';
      /** The ID of the device. */
      readonly deviceId: string;
    };

/** The fix for a list that its owner sealed, but that this version does not understand. */
export const NEWER_AMESH = { fix: 'Use the version of amesh that wrote it, or a newer one.' };

/** The algorithm of all keys that this version knows: ECDSA over P-256 with SHA-256 (RFC 7518 section 3.4). */
const ALG = 'ES256';

/** How many former IDs an entry keeps. */
export const MAX_FORMER_IDS = 16;

/** How many keys of a target an entry keeps. */
export const MAX_PROVING_KEYS = 16;

const DEVICE = ['id', 'key', 'alg', 'name', 'roles', 'addedAt'];
const DEVICE_OPTIONS = [
  'scopes',
  'expiresAt',
  'lease',
  'proves',
  'keys',
  'was',
  'next',
  'retiresAt',
  'pending',
  'keysSince',
  'unconfirmed',
];
const TOMBSTONE = ['id', 'revokedAt', 'until'];
const TOMBSTONE_OPTIONS = ['conflict'];
const LEASE = ['grant', 'expiresAt', 'endsAt'];

/**
 * Whether an entry is for the next key of a device. The ID alone does not show that: a key that nobody accepted may have become a
 * device of its own since.
 */
export function isNextOf(
  { deviceId, next }: Pick<DeviceEntry, 'deviceId' | 'next'>,
  found: DeviceEntry | undefined,
): found is DeviceEntry {
  return found !== undefined && found.deviceId === next && found.was?.at(-1) === deviceId;
}

/** Writes an entry as one line of JSON, without its line feed. */
export function toLine(entry: DeviceLine | Tombstone): string {
  if ('until' in entry) {
    const { deviceId: id, revokedAt, until, conflict } = entry;
    return JSON.stringify({ id, revokedAt, until, conflict });
  }
  const { deviceId: id, publicKey: key, friendlyName: name, roles, addedAt, ...options } = entry;
  const lease = options.lease && {
    grant: options.lease.grant,
    expiresAt: options.lease.expiresAt,
    endsAt: options.lease.endsAt,
  };
  const keys = options.keys?.map(({ deviceId, publicKey, until }) => ({
    id: deviceId,
    key: publicKey,
    until,
  }));
  // In a fixed order, so that an unchanged entry has the same line.
  const given = Object.entries({ ...options, lease, keys }).sort(([a], [b]) => rankOf(a) - rankOf(b));
  return JSON.stringify({ id, key, alg: ALG, name, roles, addedAt, ...Object.fromEntries(given) });
}

function rankOf(option: string): number {
  return DEVICE_OPTIONS.indexOf(option);
}

/**
 * Reads an entry.
 *
 * @param value the parsed line
 * @returns null if this version does not know its form. An unknown member may limit the trust in a device, so it must not be
 *   ignored
 */
export function readEntry(value: unknown): Entry | null {
  const { id, alg } = (value ?? {}) as { id?: unknown; alg?: unknown };
  if (!isText(id) || !isDeviceId(id)) return null;
  if (isText(alg) && alg !== ALG) return { kind: 'foreign', deviceId: id };
  if (hasMembers(value, TOMBSTONE, TOMBSTONE_OPTIONS)) {
    const { revokedAt, until, conflict } = value;
    if (!isCount(revokedAt) || !isCount(until)) return null;
    if (conflict !== undefined && !isText(conflict)) return null;
    const tombstone = { deviceId: id, revokedAt, until, ...(conflict !== undefined && { conflict }) };
    return { kind: 'tombstone', tombstone };
  }
  if (!hasMembers(value, DEVICE, DEVICE_OPTIONS) || !hasRightOptions(value)) return null;
  const { key, name, roles, addedAt, keys: given, id: _, alg: __, ...options } = value;
  if (!isKey(key) || !isText(name) || !isCount(addedAt)) return null;
  if (!isListOf(roles, isRole) || !hasRightState(value)) return null;
  const keys = (given as readonly KeyJson[] | undefined)?.map(toProvingKey);
  const known = { ...options, ...(keys && { keys }) };
  const device = { deviceId: id, publicKey: key, friendlyName: name, roles, addedAt, ...known };
  return { kind: 'device', device };
}

/** The ID of the device that an entry is about. */
export function idOf(entry: Entry): string {
  if (entry.kind === 'device') return entry.device.deviceId;
  return entry.kind === 'tombstone' ? entry.tombstone.deviceId : entry.deviceId;
}

/** The error for an entry that the owner sealed, but that this version does not understand. */
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
    is('keys', isListOfKeys) &&
    is('was', (was) => isListOf(was, isText) && was.length <= MAX_FORMER_IDS && was.every(isDeviceId)) &&
    is('next', (next) => isText(next) && isDeviceId(next)) &&
    is('retiresAt', isCount) &&
    is('pending', (pending) => pending === true) &&
    is('keysSince', isCount) &&
    is('unconfirmed', (unconfirmed) => unconfirmed === true)
  );
}

/** A device has a role, or waits for the roles of another device, or has given its roles to another device. */
function hasRightState(value: Record<string, unknown>): boolean {
  const has = (name: string) => Object.hasOwn(value, name);
  const { roles, was = [] } = value as Record<'roles' | 'was', readonly unknown[]>;
  if (has('pending')) return roles.length === 0 && was.length > 0 && !has('next') && !has('retiresAt');
  if (has('retiresAt')) return has('next') && !roles.includes('controller');
  return roles.length > 0;
}

interface KeyJson {
  readonly id: string;
  readonly key: string;
  readonly until?: number;
}

function toProvingKey({ id: deviceId, key: publicKey, until }: KeyJson): ProvingKey {
  return { deviceId, publicKey, ...(until !== undefined && { until }) };
}

/** All keys except the last have an end. */
function isListOfKeys(value: unknown): value is readonly KeyJson[] {
  if (!Array.isArray(value) || value.length < 2 || value.length > MAX_PROVING_KEYS) return false;
  return value.every((each, i) => {
    const isLast = i === value.length - 1;
    if (!hasMembers(each, isLast ? ['id', 'key'] : ['id', 'key', 'until'])) return false;
    return isText(each.id) && isDeviceId(each.id) && isKey(each.key) && (isLast || isCount(each.until));
  });
}

function isLease(value: unknown): boolean {
  if (!hasMembers(value, LEASE)) return false;
  return isText(value.grant) && isCount(value.expiresAt) && isCount(value.endsAt);
}

function isRole(value: unknown): value is Role {
  return value === 'controller' || value === 'target';
}

/** Whether a text has the form of a compressed point. Importing it checks that the point is on the curve. */
function isKey(value: unknown): value is string {
  if (!isText(value)) return false;
  const point = fromBase64Url(value);
  return point?.length === 33 && (point[0] === 2 || point[0] === 3);
}
