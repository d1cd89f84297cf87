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
  const [owner, next] = owners ?? [];
  if (owner === undefined || next !== undefined || list === undefined) return false;
  try {
    const identity: unknown = JSON.parse(
      new TextDecoder().decode(readRegularFileSync(join(dir, IDENTITY_KEY))),
    );
    return (identity as { publicKey?: unknown } | null)?.publicKey === toBase64Url(owner);
  } catch {
    return false; // none that can be read: the first use reports why
  }
}
