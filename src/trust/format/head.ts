import { verifyingCrypto } from '#crypto';
import { isLowS, toLowS } from '../../core/crypto/low-s';
import type { PublicKey, Signer } from '../../core/crypto/provider';
import { deviceIdOf } from '../../core/devices/allow-list';
import { fromBase64Url, fromUtf8, toBase64Url, toUtf8 } from '../../core/encoding';
import { AllowListIntegrityError } from '../../core/errors/amesh-error';
import type { Fix } from '../../core/errors/define-codes';
import { LABELS } from '../../core/wire/labels';
import { nextTurn } from '../../core/within';
import { NEWER_AMESH, type Tombstone, unknownEntry } from './entry';
import { type HeadJson, isHead } from './shape';
import type { Grant, IssuedToken, TakenToken } from './tokens';

/** The most bytes in a head. */
export const MAX_HEAD_BYTES = 4_194_304;

/**
 * A head that is longer than this is opened in several turns of the event loop: the head for a million devices takes 25 ms. A small
 * head is opened in one turn.
 */
const LARGE_BYTES = 65_536;

/** The most entries that a head holds itself. A longer list has pages. */
export const MAX_INLINE_ENTRIES = 128;

/** The most pages of a list: enough for about two million devices. */
export const MAX_PAGES = 4096;

/** How many of the newest tombstones a head repeats. */
export const MAX_RECENT = 256;

/** A part of the list: the entries whose IDs begin with these bits. */
export interface PageRef {
  /** The bits as text: `0` and `1`, at most 96 of them. */
  readonly prefix: string;
  /** The SHA-256 of the page in base64url, 43 characters; or the entries themselves, in a small list. */
  readonly content: string | readonly unknown[];
}

/** The sealed first line of an allow list, which names the pages; see docs/protocol.md, "The allow list". */
export interface ListHead {
  /** Goes up by one at each change. */
  readonly revision: number;
  /** The ID of the device that has this list. */
  readonly list: string;
  /** The public key that seals it, 33 bytes in base64url. */
  readonly owner: string;
  /** The device ID of `owner`, if it is not `list`. It follows from `owner`, and is not in the text. */
  readonly ownerId?: string | undefined;
  /** The IDs of former owners, without `list`, the latest last: at most 16. Requests may name them, too. */
  readonly was?: readonly string[] | undefined;
  /** The statement by which the former owner named the present one, if the former key was still there to sign it. */
  readonly succession?: string | undefined;
  /** Unix seconds. */
  readonly updatedAt: number;
  /** The authorities to which the device itself answers. */
  readonly hosts: readonly string[];
  /** Bootstrap tokens that this device has issued or taken. */
  readonly tokens: readonly (IssuedToken | TakenToken)[];
  /** Grants that this device has issued. */
  readonly grants: readonly Grant[];
  /** Reserved for rules by which callers join. This version keeps them as they are. */
  readonly joins: readonly unknown[];
  /** The deviceId of the target behind each authority, sorted by authority. */
  readonly targets: readonly (readonly [authority: string, deviceId: string])[];
  /** The IDs of delegations that were revoked here, and the Unix seconds until which to remember them. */
  readonly ended: readonly (readonly [jti: string, until: number])[];
  /** The newest tombstones, at most 256: with them, a revocation takes effect before its page is read. */
  readonly recent: readonly Tombstone[];
  /** The parts of the list, sorted. Their prefixes cover each ID exactly once. */
  readonly pages: readonly PageRef[];
  /** Pages that the list no longer uses, and since when, in Unix seconds. */
  readonly dropped: readonly (readonly [hash: string, atSeconds: number])[];
}

/** The head of an empty list, before an owner seals its first revision. */
export function emptyHead(list: string): ListHead {
  return {
    revision: 0,
    list,
    owner: '',
    updatedAt: 0,
    hosts: [],
    tokens: [],
    grants: [],
    joins: [],
    targets: [],
    ended: [],
    recent: [],
    pages: [{ prefix: '', content: [] }],
    dropped: [],
  };
}

/** A head whose seal was verified. */
export interface OpenedHead {
  readonly head: ListHead;
  /** Which of the owners sealed it: 0, or 1 for the next owner. */
  readonly position: number;
  /** The base64url SHA-256 of all bytes before the seal: 43 characters. */
  readonly mark: string;
}

const MOVED: Fix = {
  fix: 'If it was moved to another owner, set AMESH_OWNER_KEY to that key, and change it there. If not, restore the right list, or start an empty one with',
  command: ['amesh', 'trust', 'reset'],
};

const SEAL = ',"seal":"';
/** The length of a seal: its name, 86 characters of base64url, and the end of the line. */
const SEAL_BYTES = SEAL.length + 86 + '"}\n'.length;
const SEAL_FORM = /^,"seal":"([A-Za-z0-9_-]{86})"\}\n$/;

/** The revision comes first, so that the beginning of a head is enough to see whether it changed. */
const START = /^\{"revision":([1-9]\d{0,14}),"version":(\d{1,9}),/;
const START_BYTES = 64;

/**
 * Seals a head.
 *
 * @returns the bytes for {@link openHead}: one line of JSON
 */
export async function sealHead(head: ListHead, signer: Signer): Promise<Uint8Array> {
  const { revision, list, owner, was, succession, updatedAt, hosts, tokens, grants } = head;
  const { joins, targets, ended, recent, dropped } = head;
  const text = JSON.stringify({
    revision,
    version: 2,
    list,
    owner,
    was,
    succession,
    updatedAt,
    hosts,
    tokens,
    grants,
    joins,
    targets,
    ended,
    recent: recent.map(({ deviceId: id, revokedAt, until }) => ({ id, revokedAt, until })),
    pages: head.pages.map(({ prefix, content }) => [prefix, content]),
    dropped,
  }).slice(0, -1);
  const seal = toBase64Url(toLowS(await signer.sign(toUtf8(LABELS.list + text))));
  return toUtf8(`${text}${SEAL}${seal}"}\n`);
}

/**
 * Opens a head.
 *
 * @param owners the keys that may have sealed it, compressed points of 33 bytes: the owner, and the next one if there is
 *   one. They are trust anchors, and are never taken from the list itself
 * @param list the ID of the device that the list must belong to
 * @throws AllowListIntegrityError if any byte differs from what an owner sealed, or if the form is unknown
 */
export async function openHead(
  bytes: Uint8Array,
  owners: readonly Uint8Array[],
  list: string,
): Promise<OpenedHead> {
  if (bytes.length > MAX_HEAD_BYTES)
    throw new AllowListIntegrityError('The head of the allow list is larger than 4 MiB.');
  const sealed = bytes.subarray(0, Math.max(0, bytes.length - SEAL_BYTES));
  const [, seal] = SEAL_FORM.exec(latin1(bytes.subarray(sealed.length))) ?? [];
  const [, , version] = START.exec(latin1(sealed.subarray(0, START_BYTES))) ?? [];
  if (seal === undefined || version === undefined)
    throw new AllowListIntegrityError('The allow list does not have the form that amesh writes.');
  const position = await findOwner(sealed, fromBase64Url(seal), owners);
  if (position === -1) {
    const claimed = claimedOwner(bytes);
    const isOther = claimed !== null && !owners.some((owner) => toBase64Url(owner) === claimed);
    if (isOther) throw new AllowListIntegrityError('The allow list is sealed by another device.', MOVED);
    throw new AllowListIntegrityError('The seal of the allow list is broken.');
  }
  if (version !== '2') {
    throw new AllowListIntegrityError(
      `The allow list has version ${version}, which this version of amesh does not understand.`,
      NEWER_AMESH,
    );
  }
  const letOthersRun = bytes.length > LARGE_BYTES ? nextTurn : () => {};
  await letOthersRun();
  const value = parse(bytes);
  await letOthersRun();
  if (!isHead(value)) throw unknownEntry();
  await letOthersRun();
  if (value.owner !== toBase64Url(owners[position] as Uint8Array))
    throw new AllowListIntegrityError('The allow list was not sealed by the owner that it names.');
  if (value.list !== list) throw new AllowListIntegrityError('The allow list belongs to another device.');
  const ownerId = await deviceIdOf(owners[position] as Uint8Array, verifyingCrypto);
  const head = { ...toHead(value), ...(ownerId !== list && { ownerId }) };
  return { head, position, mark: await markOf(bytes) };
}

/** Identifies a head: the base64url SHA-256 of its bytes before the seal, 43 characters. */
export function markOf(bytes: Uint8Array): Promise<string> {
  return hashOf(bytes.subarray(0, Math.max(0, bytes.length - SEAL_BYTES)));
}

/** The revision that a head claims, with no check of the seal; null if it has none. */
export function claimedRevision(bytes: Uint8Array): number | null {
  const match = START.exec(latin1(bytes.subarray(0, START_BYTES)));
  return match === null ? null : Number(match[1]);
}

/** The owner that a head claims, with no check of the seal; null if it names none. */
export function claimedOwner(bytes: Uint8Array | null): string | null {
  const beginning = latin1((bytes ?? new Uint8Array()).subarray(0, 4096));
  return /"owner":"([A-Za-z0-9_-]{44})"/.exec(beginning)?.[1] ?? null;
}

/** The SHA-256 of bytes in base64url, 43 characters. A page is stored under it. */
export async function hashOf(bytes: Uint8Array): Promise<string> {
  return toBase64Url(await verifyingCrypto.sha256(bytes));
}

const keys = new Map<string, PublicKey>();

async function findOwner(
  sealed: Uint8Array,
  seal: Uint8Array | null,
  owners: readonly Uint8Array[],
): Promise<number> {
  if (seal === null || !isLowS(seal)) return -1;
  const label = toUtf8(LABELS.list);
  const message = new Uint8Array(label.length + sealed.length);
  message.set(label);
  message.set(sealed, label.length);
  for (const [position, owner] of owners.entries()) {
    const text = toBase64Url(owner);
    const key = keys.get(text) ?? (await verifyingCrypto.importPublicKey(owner));
    keys.set(text, key);
    if (await key.verify(seal, message)) return position;
  }
  return -1;
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch {
    throw new AllowListIntegrityError('The allow list is not JSON.');
  }
}

function toHead({ version: _, seal: __, recent, pages, ...head }: HeadJson): ListHead {
  return {
    ...head,
    recent: recent.map(({ id: deviceId, revokedAt, until }) => ({ deviceId, revokedAt, until })),
    pages: pages.map(([prefix, content]) => ({ prefix, content })),
  };
}

/** One character per byte: enough to look for ASCII. */
function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
