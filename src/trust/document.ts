import canonicalize from 'canonicalize';
import { cryptoProvider } from '#crypto';
import { createAllowList, type Role } from '../core/allow-list';
import type { PublicKey, Signer } from '../core/crypto/provider';
import { webCrypto } from '../core/crypto/web';
import { equalBytes, fromBase64Url, toBase64Url, toUtf8 } from '../core/encoding';
import { AllowListIntegrityError } from '../core/errors';
import { LABELS } from '../core/labels';

/** A device in the allow list. */
export interface DeviceEntry {
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  readonly friendlyName: string;
  readonly roles: readonly Role[];
  /** For a target: the authorities at which it is called. */
  readonly hosts: readonly string[];
  /** Unix seconds. */
  readonly addedAt: number;
  /** For a target: it has not yet shown that it trusts this device. Absent where it has. */
  readonly unconfirmed?: true;
  /** For a controller that came by a grant: until when it may call. Absent where that has no end. */
  readonly lease?: Lease;
}

/** For how long a controller that came by a grant may call. */
export interface Lease {
  /** The id of the grant. */
  readonly grant: string;
  /** Unix seconds; moves on with use. */
  readonly expiresAt: number;
  /** Unix seconds beyond which it never moves. */
  readonly endsAt: number;
}

/** A provision token that this device has issued. */
export interface IssuedToken {
  readonly kind: 'issued';
  /** 22 base64url characters. */
  readonly id: string;
  /** What the machine that takes it is to be called. */
  readonly friendlyName: string;
  /** The authorities at which that machine will be called, in normal form. */
  readonly hosts: readonly string[];
  /** 32 bytes in base64url, with which the machine proves that it has the token. */
  readonly secret: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** The public key of the machine that has registered with it; null until then. */
  readonly takenBy: string | null;
  /** Unix seconds; null where it was not. */
  readonly cancelledAt: number | null;
}

/** A bootstrap token that this device has taken. */
export interface TakenToken {
  readonly kind: 'taken';
  /** 22 base64url characters; of a grant its id. */
  readonly id: string;
  /** The deviceId of whoever issued it. */
  readonly issuer: string;
  /** Unix seconds. */
  readonly takenAt: number;
  /** For a grant: until when it is not to be taken again, Unix seconds. For a provision token null, which is for ever. */
  readonly until: number | null;
}

/** Leave for callers to put themselves into the list, as many as it says. */
export interface Grant {
  /** 22 base64url characters. */
  readonly id: string;
  /** Of the key pair of which the token holds the private half: 33 bytes in base64url. */
  readonly publicKey: string;
  /** What the callers may be called; one `*` stands for anything. */
  readonly names: string;
  /** How many may enrol. */
  readonly uses: number;
  /** How many have, those included that are gone. */
  readonly used: number;
  /** How long an unused entry lasts, in seconds. */
  readonly leaseSeconds: number;
  /** How long an entry lasts at most, in seconds. */
  readonly maxLeaseSeconds: number;
  /** Unix seconds. */
  readonly issuedAt: number;
  /** Unix seconds after which nobody enrols any more. */
  readonly expiresAt: number;
}

/** A key that was revoked, remembered until nothing old could bring it back. */
export interface Tombstone {
  readonly deviceId: string;
  /** Unix seconds. */
  readonly revokedAt: number;
  /** Unix seconds after which it may be forgotten. */
  readonly until: number;
}

/** The allow list as it is sealed; see docs/protocol.md, "The allow list". */
export interface AllowListDocument {
  readonly version: 1;
  /** The public key that seals it, 33 bytes in base64url. */
  readonly owner: string;
  /** The deviceId whose list this is. */
  readonly list: string;
  /** Counts up by one at each change. */
  readonly revision: number;
  /** Unix seconds. */
  readonly updatedAt: number;
  /** The authorities to which the device itself answers. */
  readonly hosts: readonly string[];
  readonly devices: readonly DeviceEntry[];
  /** Bootstrap tokens issued and taken. */
  readonly tokens: readonly (IssuedToken | TakenToken)[];
  /** Grants given. */
  readonly grants: readonly Grant[];
  readonly tombstones: readonly Tombstone[];
}

type Sealed = AllowListDocument & { readonly seal: string };

/**
 * Seals a document: its RFC 8785 canonical form with the owner's signature in it, and a newline.
 *
 * @returns the exact bytes that {@link openDocument} takes
 */
export async function sealDocument(document: AllowListDocument, signer: Signer): Promise<Uint8Array> {
  const seal = toBase64Url(await signer.sign(sealedBytes(document)));
  return toUtf8(`${canonical({ ...document, seal })}\n`);
}

/**
 * Opens a sealed document.
 *
 * @param owner the trust anchor: the public key of the opened private key, 33 bytes
 * @param list the deviceId for which the list has to be
 * @throws AllowListIntegrityError where any byte differs from what the owner sealed
 */
export async function openDocument(
  bytes: Uint8Array,
  owner: Uint8Array,
  list: string,
): Promise<AllowListDocument> {
  const sealed = parse(bytes);
  const ownerText = toBase64Url(owner);
  const { seal, ...document } = sealed;
  if (sealed.owner !== ownerText)
    throw new AllowListIntegrityError('The allow list is sealed by another device.');
  const signature = typeof seal === 'string' ? fromBase64Url(seal) : null;
  const key = await importOwner(owner, ownerText);
  if (signature === null || !(await key.verify(signature, sealedBytes(document)))) {
    throw new AllowListIntegrityError('The seal of the allow list is broken.');
  }
  if (document.version !== 1)
    throw new AllowListIntegrityError('The allow list is of a version that this amesh does not know.');
  if (document.list !== list)
    throw new AllowListIntegrityError('The allow list is the one of another device.');
  assertShape(document);
  return document;
}

/** The owner that bytes name, whatever their seal is worth; null where they name none. */
export function claimedOwner(bytes: Uint8Array | null): string | null {
  const match = bytes === null ? null : /"owner":"([A-Za-z0-9_-]{44})"/.exec(new TextDecoder().decode(bytes));
  return match?.[1] ?? null;
}

/** The SHA-256 of a document's bytes in base64url: 43 characters. */
export async function hashDocument(bytes: Uint8Array): Promise<string> {
  // A large one beside the event loop; a small one is hashed sooner than it is sent there.
  const { sha256 } = bytes.length > 262_144 ? webCrypto : cryptoProvider;
  return toBase64Url(await sha256(bytes));
}

const owners = new Map<string, PublicKey>();

async function importOwner(owner: Uint8Array, text: string): Promise<PublicKey> {
  const key = owners.get(text) ?? (await cryptoProvider.importPublicKey(owner));
  owners.set(text, key);
  return key;
}

function sealedBytes(document: object): Uint8Array {
  return toUtf8(LABELS.allowList + canonical(document));
}

export function canonical(value: object): string {
  return canonicalize(value) as string;
}

function parse(bytes: Uint8Array): Sealed {
  let value: unknown;
  let text: string;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
    // It throws for what JSON can say and its canonical form cannot: half a surrogate pair, 1e999, too deep a tree.
    text = typeof value === 'object' && value !== null ? canonical(value) : '';
  } catch {
    throw new AllowListIntegrityError('The allow list is no JSON.');
  }
  if (!text.startsWith('{')) throw new AllowListIntegrityError('The allow list is no JSON object.');
  // One text for one meaning: a doubled key or other spaces would be the same document to one reader only.
  if (!equalBytes(toUtf8(`${text}\n`), bytes)) {
    throw new AllowListIntegrityError('The allow list is not in canonical form.');
  }
  return value as Sealed;
}

const KEYS = {
  document: 'devices grants hosts list owner revision tokens tombstones updatedAt version',
  device: 'addedAt deviceId friendlyName hosts publicKey roles',
  lease: 'endsAt expiresAt grant',
  issued: 'cancelledAt expiresAt friendlyName hosts id issuedAt kind secret takenBy',
  taken: 'id issuer kind takenAt until',
  grant: 'expiresAt id issuedAt leaseSeconds maxLeaseSeconds names publicKey used uses',
  tombstone: 'deviceId revokedAt until',
};

/**
 * The seal says that the owner wrote it; this says that it is of a form which this version understands. A member that
 * it does not know may limit the trust in a device, so it must not be passed over.
 */
export function assertShape(document: AllowListDocument): void {
  const { revision, updatedAt, list, tokens, grants, hosts, devices, tombstones } = document;
  const known =
    hasKeys(document, KEYS.document) &&
    Number.isSafeInteger(revision) &&
    revision >= 1 &&
    isCount(updatedAt) &&
    isListOf(tokens, isToken) &&
    isListOf(grants, isGrant) &&
    isListOf(hosts, isText) &&
    isListOf(tombstones, isTombstone) &&
    isListOf(devices, isDevice);
  if (!known)
    throw new AllowListIntegrityError('The allow list holds what this amesh does not know: use a newer one.');
  try {
    createAllowList({ deviceId: list, hosts, devices });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new AllowListIntegrityError(`The allow list holds what this amesh does not know. ${error.message}`);
  }
}

export function isDevice(device: DeviceEntry): boolean {
  if (typeof device !== 'object' || device === null) return false;
  const { unconfirmed, lease, ...usual } = device;
  return (
    hasKeys(usual, KEYS.device) &&
    (!('unconfirmed' in device) || unconfirmed === true) &&
    (!('lease' in device) || isLease(lease)) &&
    [device.deviceId, device.publicKey, device.friendlyName].every(isText) &&
    isListOf(device.roles, isText) &&
    isListOf(device.hosts, isText)
  );
}

export function isTombstone(tombstone: Tombstone): boolean {
  return hasKeys(tombstone, KEYS.tombstone);
}

function isLease(lease: Lease | undefined): boolean {
  return (
    lease !== undefined &&
    hasKeys(lease, KEYS.lease) &&
    isText(lease.grant) &&
    [lease.expiresAt, lease.endsAt].every(isCount)
  );
}

function isToken(token: IssuedToken | TakenToken): boolean {
  if (hasKeys(token, KEYS.taken) && token.kind === 'taken') {
    return (
      [token.id, token.issuer].every(isText) &&
      isCount(token.takenAt) &&
      (token.until === null || isCount(token.until))
    );
  }
  return (
    hasKeys(token, KEYS.issued) &&
    token.kind === 'issued' &&
    [token.id, token.friendlyName, token.secret].every(isText) &&
    isListOf(token.hosts, isText) &&
    [token.issuedAt, token.expiresAt].every(isCount) &&
    (token.takenBy === null || isText(token.takenBy)) &&
    (token.cancelledAt === null || isCount(token.cancelledAt))
  );
}

function isGrant(grant: Grant): boolean {
  if (!hasKeys(grant, KEYS.grant)) return false;
  const { id, publicKey, names, uses, used, leaseSeconds, maxLeaseSeconds, issuedAt, expiresAt } = grant;
  return (
    [id, publicKey, names].every(isText) &&
    [uses, used, leaseSeconds, maxLeaseSeconds, issuedAt, expiresAt].every(isCount)
  );
}

function hasKeys(value: object, keys: string): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).sort().join(' ') === keys;
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
