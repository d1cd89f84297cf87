import { join } from 'node:path';
import { toBase64Url } from '../core/encoding';
import { readRegularFileSync } from '../storage/files/regular-file';
import { IDENTITY_KEY } from '../trust/identity';
import type { TrustVariables } from '../trust/owner-key';

/**
 * Whether a folder has the key of a list that was moved to it: AMESH_OWNER_KEY has only that key, and AMESH_DEVICE_ID is the device
 * that had the list. Such an instance enrols callers, like any instance that seals its own list. With two keys it only reads the
 * list: the other key may have sealed it, and the list may just be moving away from the key here.
 *
 * @param dir the folder, which need not exist
 */
export function hasMovedList({ owners, list }: TrustVariables, dir: string): boolean {
  return owners?.length === 1 && list !== undefined && hasKeyOf(owners, dir);
}

/** Whether the identity in a folder is one of the owners. */
export function hasKeyOf(owners: readonly Uint8Array[], dir: string): boolean {
  try {
    const identity: unknown = JSON.parse(
      new TextDecoder().decode(readRegularFileSync(join(dir, IDENTITY_KEY))),
    );
    const { publicKey } = (identity ?? {}) as { publicKey?: unknown };
    return owners.some((owner) => toBase64Url(owner) === publicKey);
  } catch {
    return false; // no identity can be read; the first use reports why
  }
}
