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

// In the order in which they stand. What comes behind the seal is searched first: two searches are sooner done than one
// through millions of bytes for so few.
const OWNER = ',"owner":"';
const SEAL = ',"seal":"';
const TOMBSTONES = ',"tombstones":[';
/** 64 bytes in base64url. */
const SEAL_CHARACTERS = 86;

const CODES = { quote: 0x22, comma: 0x2c, backslash: 0x5c, open: 0x7b, close: 0x7d, end: 0x5d } as const;

/**
 * Opens a sealed document as `openDocument` does, in many turns of the event loop: the seal over all, beside the event
 * loop; then device by device and tombstone by tombstone, each in its canonical form; then what is around them.
 *
 * @throws AllowListIntegrityError where any byte differs from what the owner sealed
 */
export async function openLarge(
  bytes: Uint8Array,
  owner: Uint8Array,
  list: string,
): Promise<AllowListDocument> {
  // `devices` is the first member of every list; another beginning is not canonical, or not known here.
  if (decode(bytes.subarray(0, HEAD.length)) !== HEAD) throw notCanonical();
  // First of all: megabytes of a stranger's JSON can take half a minute and gigabytes to parse.
  const found = await verifySeal(bytes, owner);
  const { entries: devices, end } = await readEntries<DeviceEntry>(bytes, HEAD.length);
  const from = viewOf(bytes).lastIndexOf(TOMBSTONES) + TOMBSTONES.length;
  if (from < end) throw notCanonical();
  const { entries: tombstones, end: rest } = await readEntries<Tombstone>(bytes, from);
  const { seal, ...around } = readAround(bytes.subarray(end, from), bytes.subarray(rest));
  if (seal !== found) throw notCanonical();
  if (around.owner !== toBase64Url(owner)) throw anotherOwner();
  if (around.version !== 1)
    throw new AllowListIntegrityError('The allow list is of a version that this amesh does not know.');
  if (around.list !== list) throw new AllowListIntegrityError('The allow list is the one of another device.');
  assertShape(around);
  const document = { ...around, devices, tombstones };
  await assertEntries(document);
  return document;
}

/**
 * What is sealed is all that is not the seal, to the byte. No string can hold what the seal begins with: its quotation
 * marks would be escaped.
 *
 * @returns the seal
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

/** The entries of the array whose first one is at `at`, and where it ends: at its closing bracket. */
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

/** All but the devices and tombstones, in whose place there are none. */
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
      if (!isDevice(device)) throw new TypeError('A device has members that are not known.');
      builder.add(toDevice(device));
      if (turns.isOver()) await turns.next();
    }
    for (const tombstone of document.tombstones) {
      if (!isTombstone(tombstone)) throw new TypeError('A tombstone has members that are not known.');
      if (turns.isOver()) await turns.next();
    }
    keepAllowList(document, builder.build());
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new AllowListIntegrityError(
      `The allow list holds what this amesh does not know: use a newer one. ${error.message}`,
    );
  }
}

/** Behind the brace that closes the object at `from`; braces in strings do not count. */
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

/** A device with thousands of hosts, and no more: one object must not take all the time there is. */
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
    throw new AllowListIntegrityError('The allow list is no JSON.');
  }
}

function canonicalOrEmpty(value: object): string {
  try {
    return canonical(value);
  } catch {
    return ''; // what JSON can say and its canonical form cannot
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
