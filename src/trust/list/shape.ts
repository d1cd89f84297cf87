import { createAllowList } from '../../core/devices/allow-list';
import { AllowListIntegrityError } from '../../core/errors/amesh-error';
import type { Fix } from '../../core/errors/define-codes';
import { hasExactly } from '../../core/strict-json';
import type {
  AllowListDocument,
  DeviceEntry,
  Grant,
  IssuedToken,
  Lease,
  TakenToken,
  Tombstone,
} from './document';

/** For a list with a valid seal: nothing is broken, and nothing in it should be lost. */
export const NEWER_AMESH: Fix = { fix: 'Use the version of amesh that wrote it, or a newer one.' };

const MEMBERS = {
  document: 'devices grants hosts list owner revision tokens tombstones updatedAt version'.split(' '),
  device: 'addedAt deviceId friendlyName hosts publicKey roles'.split(' '),
  lease: 'endsAt expiresAt grant'.split(' '),
  issued: 'cancelledAt expiresAt friendlyName hosts id issuedAt kind secret takenBy'.split(' '),
  taken: 'id issuer kind takenAt until'.split(' '),
  grant: 'expiresAt id issuedAt leaseSeconds maxLeaseSeconds names publicKey used uses'.split(' '),
  tombstone: 'deviceId revokedAt until'.split(' '),
};

/**
 * The seal proves that the owner wrote it. This checks that this version understands it. An unknown member might limit
 * the trust in a device, so it must not be ignored.
 */
export function assertShape(document: AllowListDocument): void {
  const { revision, updatedAt, list, tokens, grants, hosts, devices, tombstones } = document;
  const known =
    hasExactly(document, MEMBERS.document) &&
    Number.isSafeInteger(revision) &&
    revision >= 1 &&
    isCount(updatedAt) &&
    isListOf(tokens, isToken) &&
    isListOf(grants, isGrant) &&
    isListOf(hosts, isText) &&
    isListOf(tombstones, isTombstone) &&
    isListOf(devices, isDevice);
  if (!known)
    throw new AllowListIntegrityError(
      'This version of amesh does not understand the allow list.',
      NEWER_AMESH,
    );
  try {
    createAllowList({ deviceId: list, hosts, devices });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new AllowListIntegrityError(
      `This version of amesh does not understand the allow list. ${error.message}`,
      NEWER_AMESH,
    );
  }
}

export function isDevice(device: DeviceEntry): boolean {
  if (typeof device !== 'object' || device === null) return false;
  const { unconfirmed, lease, ...usual } = device;
  return (
    hasExactly(usual, MEMBERS.device) &&
    (!('unconfirmed' in device) || unconfirmed === true) &&
    (!('lease' in device) || isLease(lease)) &&
    [device.deviceId, device.publicKey, device.friendlyName].every(isText) &&
    isListOf(device.roles, isText) &&
    isListOf(device.hosts, isText)
  );
}

export function isTombstone(tombstone: Tombstone): boolean {
  return hasExactly(tombstone, MEMBERS.tombstone);
}

function isLease(lease: Lease | undefined): boolean {
  return (
    lease !== undefined &&
    hasExactly(lease, MEMBERS.lease) &&
    isText(lease.grant) &&
    [lease.expiresAt, lease.endsAt].every(isCount)
  );
}

function isToken(token: IssuedToken | TakenToken): boolean {
  if (hasExactly(token, MEMBERS.taken) && token.kind === 'taken') {
    return (
      [token.id, token.issuer].every(isText) &&
      isCount(token.takenAt) &&
      (token.until === null || isCount(token.until))
    );
  }
  return (
    hasExactly(token, MEMBERS.issued) &&
    token.kind === 'issued' &&
    [token.id, token.friendlyName, token.secret].every(isText) &&
    isListOf(token.hosts, isText) &&
    [token.issuedAt, token.expiresAt].every(isCount) &&
    (token.takenBy === null || isText(token.takenBy)) &&
    (token.cancelledAt === null || isCount(token.cancelledAt))
  );
}

function isGrant(grant: Grant): boolean {
  if (!hasExactly(grant, MEMBERS.grant)) return false;
  const { id, publicKey, names, uses, used, leaseSeconds, maxLeaseSeconds, issuedAt, expiresAt } = grant;
  return (
    [id, publicKey, names].every(isText) &&
    [uses, used, leaseSeconds, maxLeaseSeconds, issuedAt, expiresAt].every(isCount)
  );
}

function isListOf<T>(value: readonly T[], isRight: (item: T) => boolean): boolean {
  return Array.isArray(value) && value.every(isRight);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
