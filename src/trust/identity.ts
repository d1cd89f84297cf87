import { cryptoProvider } from '#crypto';
import { deviceIdOf } from '../core/devices/allow-list';
import { fromBase64Url } from '../core/encoding';
import { AllowListIntegrityError, AmeshError } from '../core/errors/amesh-error';
import type { Fix } from '../core/errors/define-codes';
import { isDeviceId } from '../core/wire/credentials';
import { PROCESS_CODES } from '../process/errors/codes';
import type { DocumentStore } from '../storage/document-store';
import { TRUST_CODES } from './errors/codes';
import { cleanName } from './names';

/** This device's own public facts. */
export interface DeviceIdentity {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed P-256 point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** For people: at most 64 code points. */
  readonly friendlyName: string;
  /** Unix seconds. */
  readonly createdAt: number;
  /** Where the private key lives; no secret. */
  readonly key: {
    /** The name of the key backend, such as `encrypted-file`. */
    readonly backend: string;
    /** By which the backend finds the key: of `encrypted-file` the name of a file. */
    readonly ref: string;
  };
}

export const IDENTITY_KEY = 'identity.json';

const PUT_BACK: Fix = {
  fix: 'Put the right identity.json back. If there is no backup, make a new identity, and pair again',
  command: ['amesh', 'init', '--name', 'NAME', '--force'],
};

/**
 * @returns null where this machine has none
 * @throws AmeshError `identity_unreadable` for a file that is no identity, `allow_list_integrity_failure` where its
 *   id is not the one of its key
 */
export async function readIdentity(store: DocumentStore): Promise<DeviceIdentity | null> {
  const bytes = await store.read(IDENTITY_KEY);
  if (bytes === null) return null;
  const identity = parse(bytes);
  const point = fromBase64Url(identity.publicKey);
  if (point?.length !== 33) throw unreadable();
  if ((await deviceIdOf(point, cryptoProvider)) !== identity.deviceId) {
    throw new AllowListIntegrityError(
      'identity.json names a key that its deviceId does not stand for.',
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
 * Gives this device another name, cleaned here. What others call it is theirs to say.
 *
 * @returns the identity as it is now
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
  let value: Partial<DeviceIdentity & { version: number }>;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw unreadable();
  }
  const { version, deviceId, publicKey, friendlyName, createdAt, key } = value ?? {};
  if (
    version !== 1 ||
    typeof deviceId !== 'string' ||
    !isDeviceId(deviceId) ||
    typeof publicKey !== 'string' ||
    typeof friendlyName !== 'string' ||
    !Number.isSafeInteger(createdAt) ||
    typeof key?.backend !== 'string' ||
    typeof key.ref !== 'string'
  ) {
    throw unreadable();
  }
  return {
    deviceId,
    publicKey,
    friendlyName,
    createdAt: createdAt as number,
    key: { backend: key.backend, ref: key.ref },
  };
}

function unreadable(): AmeshError {
  return new AmeshError(
    PROCESS_CODES.identity_unreadable,
    'identity.json is not an identity of this version of amesh.',
    PUT_BACK,
  );
}
