import { verifyingCrypto } from '#crypto';
import { deviceIdOf } from '../core/devices/allow-list';
import { fromBase64Url, toBase64Url } from '../core/encoding';
import { isDeviceId } from '../core/wire/credentials';
import { readVariable, VariableError } from '../process/environment';
import type { Env } from '../process/home';
import type { ListTrust } from './list/list-reader';

/** Which list an instance uses, according to its environment. */
export interface TrustVariables {
  /**
   * AMESH_OWNER_KEY: the owner of the list, and the next one if there are two. Compressed points, 33 bytes; null if it is
   * not set.
   */
  readonly owners: readonly Uint8Array[] | null;
  /** AMESH_DEVICE_ID: the ID of the device that has the list; undefined for the ID of the first owner. */
  readonly list: string | undefined;
  /** AMESH_MIN_REVISION; 0 if it is not set. */
  readonly minRevision: number;
}

/** The highest value of AMESH_MIN_REVISION: more than any list reaches. */
const MAX_REVISION = 2 ** 48 - 1;

/**
 * Reads AMESH_OWNER_KEY, AMESH_DEVICE_ID and AMESH_MIN_REVISION.
 *
 * @throws VariableError for a wrong value
 */
export function readTrustVariables(env: Env): TrustVariables {
  const owners = readOwnerKeys(env);
  const list = readListId(env);
  if (list !== undefined && owners === null) {
    throw new VariableError(
      'AMESH_DEVICE_ID',
      'is set without AMESH_OWNER_KEY.',
      'Set AMESH_OWNER_KEY to the key that seals the list of that device, or unset AMESH_DEVICE_ID.',
    );
  }
  return { owners, list, minRevision: readMinRevision(env) };
}

/**
 * The keys in AMESH_OWNER_KEY, one or two; null if it is not set.
 *
 * @throws VariableError if it is empty, has more than two keys or the same key twice, or has anything other than compressed points
 *   in base64url
 */
export function readOwnerKeys(env: Readonly<Record<string, unknown>>): readonly Uint8Array[] | null {
  // Ignoring an empty variable would make the folder's own key the owner.
  const text = readVariable(env, 'AMESH_OWNER_KEY', 'wrong');
  if (text === undefined) return null;
  const texts = text.split(',').map((key) => key.trim());
  const points = texts.map((key) => fromBase64Url(key) ?? new Uint8Array());
  if (!points.every(isPoint)) {
    throw new VariableError(
      'AMESH_OWNER_KEY',
      'is not a public key: it needs the 44 base64url characters that amesh trust export prints after amesh-p256.',
    );
  }
  if (points.length > 2)
    throw new VariableError('AMESH_OWNER_KEY', 'has more than two keys.', 'Name the owner and the next one.');
  if (new Set(texts).size < texts.length)
    throw new VariableError('AMESH_OWNER_KEY', 'has the same key twice.', 'Name each key once.');
  return points;
}

/** @throws VariableError */
export function readListId(env: Readonly<Record<string, unknown>>): string | undefined {
  const list = readVariable(env, 'AMESH_DEVICE_ID', 'wrong');
  if (list !== undefined && !isDeviceId(list))
    throw new VariableError('AMESH_DEVICE_ID', 'must have the form am_….');
  return list;
}

/** @throws VariableError */
export function readMinRevision(env: Readonly<Record<string, unknown>>): number {
  const text = readVariable(env, 'AMESH_MIN_REVISION', 'wrong');
  if (text === undefined) return 0;
  if (!/^\d{1,15}$/.test(text) || !isMinRevision(Number(text)))
    throw new VariableError('AMESH_MIN_REVISION', `must be a whole number from 1 to ${MAX_REVISION}.`);
  return Number(text);
}

/** Whether a value can be the lowest revision that counts. */
export function isMinRevision(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= MAX_REVISION;
}

/** Adds the default of AMESH_DEVICE_ID, which is the ID of the first owner. */
export async function toListTrust(
  owners: readonly Uint8Array[],
  { list, minRevision }: Pick<TrustVariables, 'list' | 'minRevision'>,
): Promise<ListTrust> {
  return { owners, list: list ?? (await deviceIdOf(owners[0] as Uint8Array, verifyingCrypto)), minRevision };
}

/** The list of AMESH_OWNER_KEY; undefined if that is not set. @throws VariableError */
export async function readListTrust(env: Env): Promise<ListTrust | undefined> {
  const { owners, ...variables } = readTrustVariables(env);
  return owners === null ? undefined : toListTrust(owners, variables);
}

/** The device that has the list. */
export interface OwnList {
  /** `am_` and 16 base64url characters. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** The IDs that the device had before its key was rotated. Its list keeps the first one. */
  readonly was?: readonly string[] | undefined;
  /**
   * During a rotation: the two keys that may have sealed the list, in the form of `publicKey`. The last one seals it from now on.
   */
  readonly sealers?: readonly string[] | undefined;
  /** The last of `sealers`, if it sealed the list before the other key did, because a rotation was taken back. */
  readonly returned?: string | undefined;
}

/**
 * The list that a device reads and seals: the list of AMESH_OWNER_KEY, if the device has one of those keys; otherwise its own.
 *
 * @throws VariableError
 */
export async function trustOf(own: OwnList, env: Env): Promise<ListTrust> {
  const variables = readTrustVariables(env);
  const { owners } = variables;
  if (owners?.some((owner) => toBase64Url(owner) === own.publicKey)) return toListTrust(owners, variables);
  const { was, sealers = [own.publicKey], returned } = own;
  // If the variable has only keys of other devices, the lowest revision is for their list.
  return {
    owners: sealers.map((key) => fromBase64Url(key) as Uint8Array),
    list: was?.[0] ?? own.deviceId,
    minRevision: owners === null ? variables.minRevision : 0,
    ...(returned !== undefined && { returned }),
  };
}

function isPoint(bytes: Uint8Array): boolean {
  return bytes.length === 33 && (bytes[0] === 2 || bytes[0] === 3);
}
