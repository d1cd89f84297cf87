import { cryptoProvider } from '#crypto';
import { deviceIdOf } from '../core/devices/allow-list';
import { fromBase64Url } from '../core/encoding';
import { readVariable } from '../process/environment';
import type { Env } from '../process/home';

/** The target whose list an instance without a private key reads. */
export interface OwnerKey {
  readonly deviceId: string;
  /** The compressed point, 33 bytes. */
  readonly publicKey: Uint8Array;
}

/**
 * The key of AMESH_OWNER_KEY; null where it is not set.
 *
 * @throws TypeError where it is empty, or no compressed point in base64url
 */
export function readOwnerKey(env: Env): Uint8Array | null {
  // With an empty one the owner of the folder would own the list.
  const text = readVariable(env, 'AMESH_OWNER_KEY', 'wrong');
  if (text === undefined) return null;
  const point = fromBase64Url(text);
  if (point?.length === 33 && (point[0] === 2 || point[0] === 3)) return point;
  throw new TypeError(
    'AMESH_OWNER_KEY is no public key: 44 characters of base64url, as amesh trust export prints them behind amesh-p256.',
  );
}

export async function toOwnerKey(publicKey: Uint8Array): Promise<OwnerKey> {
  return { deviceId: await deviceIdOf(publicKey, cryptoProvider), publicKey };
}
