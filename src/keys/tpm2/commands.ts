import { join, u16, u32 } from '../slow/bytes';
import { type Reader, sized } from './bytes';
import { run } from './command';
import type { TpmConnection } from './connection';
import { type EccTemplate, publicArea } from './public-area';

/** The hierarchies under which a primary key can be recreated from its template. */
export const HIERARCHY = { owner: 0x4000_0001, endorsement: 0x4000_000b, none: 0x4000_0007 } as const;

/** Where the operating system keeps the storage root key, if it does (TCG "Registry of Reserved TPM 2.0 Handles"). */
export const STORAGE_ROOT_HANDLE = 0x8100_0001;

/** Command codes (TCG TPM 2.0 Library part 2, section 6.5.2). */
export const CC = {
  createPrimary: 0x131,
  create: 0x153,
  load: 0x157,
  sign: 0x15d,
  flushContext: 0x165,
  readPublic: 0x173,
  getCapability: 0x17a,
} as const;

const ECDSA = 0x0018;
const SHA256 = 0x000b;
const HASH_CHECK_TAG = 0x8024;
const TPM_PROPERTIES = 6;
const EMPTY = sized(new Uint8Array());
const NO_PASSWORD = new Uint8Array();

/** A key that the TPM has made, in a form that can be stored. Both parts are useless to another TPM. */
export interface KeyBlob {
  /** A TPMT_PUBLIC. */
  readonly publicArea: Uint8Array;
  /** The content of a TPM2B_PRIVATE, encrypted by its parent. */
  readonly privateArea: Uint8Array;
}

/**
 * Recreates a primary key: the same template gives the same key, until the hierarchy is cleared.
 *
 * @returns a handle, which the caller must flush, and the public area
 */
export async function createPrimary(
  tpm: TpmConnection,
  hierarchy: number,
  template: EccTemplate,
): Promise<{ readonly handle: number; readonly publicArea: Uint8Array }> {
  const { handle, parameters } = await run(tpm, {
    code: CC.createPrimary,
    handles: [hierarchy],
    password: NO_PASSWORD,
    parameters: creation(template, NO_PASSWORD),
    givesHandle: true,
  });
  return { handle, publicArea: parameters.sized() };
}

/** Makes a key under a parent. The TPM does not keep it. */
export async function createKey(
  tpm: TpmConnection,
  parent: number,
  template: EccTemplate,
  pin: Uint8Array,
): Promise<KeyBlob> {
  const { parameters } = await run(tpm, {
    code: CC.create,
    handles: [parent],
    password: NO_PASSWORD,
    parameters: creation(template, pin),
  });
  const privateArea = parameters.sized();
  return { privateArea, publicArea: parameters.sized() };
}

/** @returns a handle, which the caller must flush */
export async function loadKey(tpm: TpmConnection, parent: number, key: KeyBlob): Promise<number> {
  const { handle } = await run(tpm, {
    code: CC.load,
    handles: [parent],
    password: NO_PASSWORD,
    parameters: [sized(key.privateArea), sized(key.publicArea)],
    givesHandle: true,
  });
  return handle;
}

/**
 * Signs a SHA-256 with ECDSA.
 *
 * @param digest 32 bytes
 * @returns r‖s, 64 bytes
 */
export async function signDigest(
  tpm: TpmConnection,
  handle: number,
  digest: Uint8Array,
  pin: Uint8Array,
): Promise<Uint8Array> {
  const ticket = join(u16(HASH_CHECK_TAG), u32(HIERARCHY.none), EMPTY);
  const { parameters } = await run(tpm, {
    code: CC.sign,
    handles: [handle],
    password: pin,
    parameters: [sized(digest), u16(ECDSA), u16(SHA256), ticket],
  });
  if (parameters.u16() !== ECDSA || parameters.u16() !== SHA256)
    throw new RangeError('The TPM signed with another algorithm.');
  return join(toFieldElement(parameters.sized()), toFieldElement(parameters.sized()));
}

/** Removes an object from the memory of the TPM, which has room for about three. */
export async function flush(tpm: TpmConnection, handle: number): Promise<void> {
  await run(tpm, { code: CC.flushContext, parameters: [u32(handle)] });
}

/** @throws ResponseError if there is no object at the handle */
export async function readPublic(tpm: TpmConnection, handle: number): Promise<Uint8Array> {
  const { parameters } = await run(tpm, { code: CC.readPublic, handles: [handle] });
  return parameters.sized();
}

/** How a TPM defends itself against guessing. */
export interface Lockout {
  /** How many wrong PINs it has counted. */
  readonly failures: number;
  /** The number at which it locks itself. */
  readonly maxFailures: number;
  /** The seconds after which it forgets one of them; 0 if it never does. */
  readonly forgetsAfterSeconds: number;
}

/** Reads the state of the dictionary-attack defence (TPM_PT_LOCKOUT_COUNTER and the two properties after it). */
export async function readLockout(tpm: TpmConnection): Promise<Lockout> {
  const { parameters } = await run(tpm, {
    code: CC.getCapability,
    parameters: [u32(TPM_PROPERTIES), u32(0x20e), u32(3)],
  });
  const properties = readProperties(parameters);
  return {
    failures: properties.get(0x20e) ?? 0,
    maxFailures: properties.get(0x20f) ?? 0,
    forgetsAfterSeconds: properties.get(0x210) ?? 0,
  };
}

function readProperties(reader: Reader): ReadonlyMap<number, number> {
  reader.u8(); // whether there are more
  reader.u32();
  const count = reader.u32();
  const properties = new Map<number, number>();
  for (let i = 0; i < count; i++) properties.set(reader.u32(), reader.u32());
  return properties;
}

function creation(template: EccTemplate, pin: Uint8Array): readonly Uint8Array[] {
  const sensitive = [u16(pin.length), pin, EMPTY]; // not copied: see `run`
  const length = 2 + pin.length + EMPTY.length;
  return [u16(length), ...sensitive, sized(publicArea(template)), EMPTY, u32(0)];
}

/** Pads or cuts to 32 bytes: TPMs leave out leading zeros, or add them. */
function toFieldElement(bytes: Uint8Array): Uint8Array {
  const rest = bytes.subarray(Math.max(0, bytes.length - 32));
  if (bytes.subarray(0, bytes.length - rest.length).some((byte) => byte !== 0))
    throw new RangeError('The TPM gave a number of more than 32 bytes.');
  const element = new Uint8Array(32);
  element.set(rest, 32 - rest.length);
  return element;
}
