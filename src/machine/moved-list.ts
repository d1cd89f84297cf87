import { join } from 'node:path';
import { toBase64Url } from '../core/encoding';
import { readRegularFileSync } from '../storage/files/regular-file';
import { IDENTITY_KEY } from '../trust/identity';
import type { TrustVariables } from '../trust/owner-key';

/**
 * Whether a folder has the key of a list that was moved to it: AMESH_OWNER_KEY is that key alone, and AMESH_DEVICE_ID is
 * the device whose list it was. Such an instance enrols callers like any that seals its own list. With two keys it only
 * reads: the list may be sealed by the other one, and the key here may be the one that was lost.
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
    return false; // none that can be read: the first use reports why
  }
}
