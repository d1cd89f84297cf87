import { cryptoProvider } from '#crypto';
import { deviceIdOf } from '../core/devices/allow-list';
import { fromBase64Url } from '../core/encoding';
import { readVariable, VariableError } from '../process/environment';
import type { Env } from '../process/home';

/** The owner of a list that an instance without a private key reads. */
export interface OwnerKey {
  readonly deviceId: string;
  /** The compressed point, 33 bytes. */
  readonly publicKey: Uint8Array;
}

/**
 * The key in AMESH_OWNER_KEY; null if it is not set.
 *
 * @throws VariableError if it is empty, or not a compressed point in base64url
 */
export function readOwnerKey(env: Env): Uint8Array | null {
  // Ignoring an empty variable would make the folder's own key the owner.
  const text = readVariable(env, 'AMESH_OWNER_KEY', 'wrong');
  if (text === undefined) return null;
  const point = fromBase64Url(text);
  if (point?.length === 33 && (point[0] === 2 || point[0] === 3)) return point;
  throw new VariableError(
    'AMESH_OWNER_KEY',
    'is not a public key: it needs the 44 base64url characters that amesh trust export prints after amesh-p256.',
  );
}

export async function toOwnerKey(publicKey: Uint8Array): Promise<OwnerKey> {
  return { deviceId: await deviceIdOf(publicKey, cryptoProvider), publicKey };
}
