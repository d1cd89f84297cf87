import { cryptoProvider } from '#crypto';
import { deviceIdOf } from '../core/devices/allow-list';
import { fromBase64Url } from '../core/encoding';
import { AllowListIntegrityError, AmeshError } from '../core/errors/amesh-error';
import type { Fix } from '../core/errors/define-codes';
import { MAX_CHAIN } from '../core/rotation/chain';
import { ROTATION_LIMITS } from '../core/rotation/rotation';
import { parseObject } from '../core/strict-json';
import { isDeviceId } from '../core/wire/credentials';
import { PROCESS_CODES } from '../process/errors/codes';
import type { DocumentStore } from '../storage/document-store';
import { TRUST_CODES } from './errors/codes';
import { MAX_FORMER_IDS } from './format/entry';
import { cleanName } from './names';

/** This device's public identity. */
export interface DeviceIdentity {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed P-256 point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** Shown to people: at most 64 code points. */
  readonly friendlyName: string;
  /** Unix seconds. */
  readonly createdAt: number;
  /** Where the private key is stored; not secret. */
  readonly key: {
    /** The name of the key backend, such as `encrypted-file`. */
    readonly backend: string;
    /** How the backend finds the key; for `encrypted-file` the name of a file. */
    readonly ref: string;
  };
  /**
   * The IDs that the device had before its key was rotated, the latest last: the first one and the latest 15. Absent if its key was
   * never rotated.
   */
  readonly was?: readonly string[];
  /**
   * The statements of its latest rotations, the latest last, at most 16. They show a running process that the folder still has the
   * device that the process opened.
   */
  readonly rotations?: readonly string[];
}

export const IDENTITY_KEY = 'identity.json';

const PUT_BACK: Fix = {
  fix: 'Restore the right identity.json. If there is no backup, create a new identity, and pair again',
  command: ['amesh', 'init', '--name', 'NAME', '--force'],
};

/**
 * @returns null if this machine has none
 * @throws AmeshError `identity_unreadable` for a file that is not an identity, `allow_list_integrity_failure` if its device
 *   ID does not match its public key
 */
export async function readIdentity(store: DocumentStore): Promise<DeviceIdentity | null> {
  const bytes = await store.read(IDENTITY_KEY);
  if (bytes === null) return null;
  const identity = parse(bytes);
  const point = fromBase64Url(identity.publicKey);
  if (point?.length !== 33) throw unreadable();
  if ((await deviceIdOf(point, cryptoProvider)) !== identity.deviceId) {
    throw new AllowListIntegrityError(
      'The deviceId in identity.json does not match its public key.',
      PUT_BACK,
    );
  }
  return identity;
}

export async function writeIdentity(
  store: DocumentStore,
  expected: Uint8Array | null,
  identity: DeviceIdentity,
): Promise<boolean> {
  return store.swap(
    IDENTITY_KEY,
    expected,
    new TextEncoder().encode(`${JSON.stringify({ version: 1, ...identity }, null, 2)}\n`),
  );
}

/**
 * Renames this device; the name is cleaned here. Other machines keep the name by which they know it.
 *
 * @returns the current identity
 * @throws AmeshError `no_identity`, and what {@link readIdentity} throws
 */
export async function renameIdentity(store: DocumentStore, name: string): Promise<DeviceIdentity> {
  for (;;) {
    const bytes = await store.read(IDENTITY_KEY);
    const identity = await readIdentity(store);
    if (bytes === null || identity === null) throw new AmeshError(TRUST_CODES.no_identity);
    const renamed = { ...identity, friendlyName: cleanName(name) };
    if (renamed.friendlyName === identity.friendlyName) return identity;
    if (await writeIdentity(store, bytes, renamed)) return renamed;
  }
}

function parse(bytes: Uint8Array): DeviceIdentity {
  const value = parseObject(bytes);
  const identity = value?.version === 1 ? toIdentity(value) : null;
  if (identity === null) throw unreadable();
  return identity;
}

/** Reads an identity; null for anything else. It does not check that the ID belongs to the key. */
export function toIdentity(value: Readonly<Record<string, unknown>>): DeviceIdentity | null {
  const { deviceId, publicKey, friendlyName, createdAt, key, was, rotations } = value;
  const { backend, ref } = (key ?? {}) as Partial<Record<string, unknown>>;
  if (
    typeof deviceId !== 'string' ||
    !isDeviceId(deviceId) ||
    typeof publicKey !== 'string' ||
    typeof friendlyName !== 'string' ||
    !Number.isSafeInteger(createdAt) ||
    typeof backend !== 'string' ||
    typeof ref !== 'string' ||
    !isTextList(was, MAX_FORMER_IDS, isDeviceId) ||
    !isTextList(rotations, MAX_CHAIN, (text) => text.length <= ROTATION_LIMITS.characters)
  ) {
    return null;
  }
  return {
    deviceId,
    publicKey,
    friendlyName,
    createdAt: createdAt as number,
    key: { backend, ref },
    ...(was && { was }),
    ...(rotations && { rotations }),
  };
}

function isTextList(
  value: unknown,
  most: number,
  isRight: (text: string) => boolean,
): value is readonly string[] | undefined {
  if (value === undefined) return true;
  const isList = Array.isArray(value) && value.length > 0 && value.length <= most;
  return isList && value.every((text) => typeof text === 'string' && isRight(text));
}

function unreadable(): AmeshError {
  return new AmeshError(
    PROCESS_CODES.identity_unreadable,
    'identity.json is not an identity that this version of amesh understands.',
    PUT_BACK,
  );
}
