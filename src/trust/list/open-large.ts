import { webCrypto } from '../../core/crypto/web';
import { AllowListBuilder } from '../../core/devices/allow-list';
import { fromBase64Url, fromUtf8, toBase64Url, toUtf8 } from '../../core/encoding';
import { AllowListIntegrityError } from '../../core/errors/amesh-error';
import { LABELS } from '../../core/wire/labels';
import { canonical } from './canonical';
import type { AllowListDocument, DeviceEntry, Tombstone } from './document';
import { assertShape, isDevice, isTombstone } from './shape';
import { keepAllowList, toDevice } from './to-allow-list';
import { Turns } from './turns';

const HEAD = '{"devices":[';

// In the order of the canonical form. The seal and the tombstones are searched from the end: the few bytes there are
// faster to search than the millions before them.
const OWNER = ',"owner":"';
const SEAL = ',"seal":"';
const TOMBSTONES = ',"tombstones":[';
/** 64 bytes in base64url. */
const SEAL_CHARACTERS = 86;

const CODES = { quote: 0x22, comma: 0x2c, backslash: 0x5c, open: 0x7b, close: 0x7d, end: 0x5d } as const;

/**
 * Opens a sealed document like `openDocument`, but in many turns of the event loop. It first verifies the seal off the
 * event loop, then checks each device and tombstone for its canonical form, then the rest.
 *
 * @throws AllowListIntegrityError if any byte differs from what the owner sealed
 */
export async function openLarge(
  bytes: Uint8Array,
  owner: Uint8Array,
  list: string,
): Promise<AllowListDocument> {
  // `devices` is the first member of every list. Another beginning is not canonical, or of a version not known here.
  if (decode(bytes.subarray(0, HEAD.length)) !== HEAD) throw notCanonical();
  // Before any parsing: megabytes of JSON from a stranger can take half a minute and gigabytes of memory.
  const found = await verifySeal(bytes, owner);
  const { entries: devices, end } = await readEntries<DeviceEntry>(bytes, HEAD.length);
  const from = viewOf(bytes).lastIndexOf(TOMBSTONES) + TOMBSTONES.length;
  if (from < end) throw notCanonical();
  const { entries: tombstones, end: rest } = await readEntries<Tombstone>(bytes, from);
  const { seal, ...around } = readAround(bytes.subarray(end, from), bytes.subarray(rest));
  if (seal !== found) throw notCanonical();
  if (around.owner !== toBase64Url(owner)) throw anotherOwner();
  if (around.version !== 1)
    throw new AllowListIntegrityError('The version of the allow list is unknown to this version of amesh.');
  if (around.list !== list) throw new AllowListIntegrityError('The allow list belongs to another device.');
  assertShape(around);
  const document = { ...around, devices, tombstones };
  await assertEntries(document);
  return document;
}

/**
 * The sealed bytes are all bytes except the seal itself. No string can contain the beginning of the seal, because its
 * quotation marks would be escaped.
 *
 * @returns the seal, 86 base64url characters
 */
async function verifySeal(bytes: Uint8Array, owner: Uint8Array): Promise<string> {
  const view = viewOf(bytes);
  const at = view.lastIndexOf(SEAL, view.lastIndexOf(TOMBSTONES));
  const end = at + SEAL.length + SEAL_CHARACTERS + 1;
  const seal = at === -1 ? '' : view.toString('latin1', at + SEAL.length, end - 1);
  const signature = fromBase64Url(seal);
  const key = await webCrypto.importPublicKey(owner);
  const message = concat(toUtf8(LABELS.allowList), view.subarray(0, at), view.subarray(end, -1));
  if (signature !== null && (await key.verify(signature, message))) return seal;
  const ownerAt = view.lastIndexOf(OWNER, at) + OWNER.length;
  const claimed = view.toString('latin1', ownerAt, ownerAt + toBase64Url(owner).length);
  throw claimed === toBase64Url(owner)
    ? new AllowListIntegrityError('The seal of the allow list is broken.')
    : anotherOwner();
}

/** The entries of the array whose first entry is at `at`, and the position of its closing bracket. */
async function readEntries<T>(bytes: Uint8Array, at: number): Promise<{ entries: T[]; end: number }> {
  const entries: T[] = [];
  const turns = new Turns();
  if (bytes[at] === CODES.end) return { entries, end: at };
  for (let from = at; ; from++) {
    const end = endOfObject(bytes, from);
    const text = decode(bytes.subarray(from, end));
    const entry = parse(text);
    if (canonicalOrEmpty(entry) !== text) throw notCanonical();
    entries.push(entry as T);
    from = end;
    if (bytes[from] === CODES.end) return { entries, end: from };
    if (bytes[from] !== CODES.comma) throw notCanonical();
    if (turns.isOver()) await turns.next();
  }
}

/** The document without its devices and tombstones: both arrays are empty. */
function readAround(
  between: Uint8Array,
  behind: Uint8Array,
): AllowListDocument & { readonly seal?: unknown } {
  const text = HEAD + decode(between) + decode(behind);
  const around = parse(text.trimEnd());
  if (`${canonicalOrEmpty(around)}\n` !== text) throw notCanonical();
  return around as AllowListDocument & { readonly seal?: unknown };
}

async function assertEntries(document: AllowListDocument): Promise<void> {
  const turns = new Turns();
  try {
    const builder = new AllowListBuilder(document.list, document.hosts);
    for (const device of document.devices) {
      if (!isDevice(device)) throw new TypeError('A device has unknown members.');
      builder.add(toDevice(device));
      if (turns.isOver()) await turns.next();
    }
    for (const tombstone of document.tombstones) {
      if (!isTombstone(tombstone)) throw new TypeError('A tombstone has unknown members.');
      if (turns.isOver()) await turns.next();
    }
    keepAllowList(document, builder.build());
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new AllowListIntegrityError(
      `This version of amesh does not understand the allow list: use a newer one. ${error.message}`,
    );
  }
}

/** The position after the object that begins at `from`. Braces in strings do not count. */
function endOfObject(bytes: Uint8Array, from: number): number {
  if (bytes[from] !== CODES.open) throw notCanonical();
  let depth = 0;
  let inString = false;
  const limit = Math.min(bytes.length, from + MAX_ENTRY_BYTES);
  for (let at = from; at < limit; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === CODES.backslash) at++;
      else if (byte === CODES.quote) inString = false;
    } else if (byte === CODES.quote) inString = true;
    else if (byte === CODES.open) depth++;
    else if (byte === CODES.close && --depth === 0) return at + 1;
  }
  throw notCanonical();
}

/** Room for a device with thousands of hosts. The limit keeps one object from blocking the event loop. */
const MAX_ENTRY_BYTES = 1_048_576;

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function decode(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch {
    throw notCanonical();
  }
}

function parse(text: string): object {
  try {
    return JSON.parse(text);
  } catch {
    throw new AllowListIntegrityError('The allow list is not JSON.');
  }
}

function canonicalOrEmpty(value: object): string {
  try {
    return canonical(value);
  } catch {
    return ''; // valid JSON without a canonical form
  }
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function anotherOwner(): AllowListIntegrityError {
  return new AllowListIntegrityError('The allow list is sealed by another device.');
}

function notCanonical(): AllowListIntegrityError {
  return new AllowListIntegrityError('The allow list is not in canonical form.');
}
