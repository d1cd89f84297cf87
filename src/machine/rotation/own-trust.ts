import { cryptoProvider } from '#crypto';
import { toBase64Url } from '../../core/encoding';
import { readRotation } from '../../core/rotation/rotation';
import type { Env } from '../../process/home';
import type { FileStore } from '../../storage/files/file-store';
import type { DeviceIdentity } from '../../trust/identity';
import type { ListTrust } from '../../trust/list/list-reader';
import { trustOf } from '../../trust/owner-key';
import { isOf, type OwnRotation, readRotationFile } from './rotation-file';

/**
 * The list of the identity in a folder. While its key is being replaced, either key may have sealed the list, and a list of the
 * next key is newer than all lists of the former key.
 *
 * @throws VariableError for a wrong AMESH_OWNER_KEY, AMESH_DEVICE_ID or AMESH_MIN_REVISION
 */
export async function ownTrust(store: FileStore, identity: DeviceIdentity, env: Env): Promise<ListTrust> {
  const rotation = await readRotationFile(store).catch(() => null); // without a readable rotation, only its own key counts
  return trustDuring(rotation, identity, env);
}

/** What {@link ownTrust} returns during this rotation; null for none. */
export async function trustDuring(
  rotation: OwnRotation | null,
  identity: DeviceIdentity,
  env: Env,
): Promise<ListTrust> {
  if (rotation === null || !isOf(rotation, identity))
    return trustOf({ ...identity, returned: await returnedKey(identity) }, env);
  const { former, next, withdrawnAt } = rotation;
  if (withdrawnAt === undefined)
    return trustOf({ ...identity, sealers: [former.publicKey, next.publicKey] }, env);
  return trustOf(
    { ...identity, sealers: [next.publicKey, former.publicKey], returned: former.publicKey },
    env,
  );
}

/** The key of an identity, if another key had replaced it and the identity then went back. Both keys have signed that. */
async function returnedKey({ publicKey, rotations = [] }: DeviceIdentity): Promise<string | undefined> {
  let wasReplaced = false;
  for (const text of rotations) {
    const rotation = await readRotation(text, cryptoProvider);
    if (rotation === null || rotation.targetId !== rotation.formerId) continue;
    if (toBase64Url(rotation.formerKey) === publicKey) wasReplaced = true;
    else if (wasReplaced && toBase64Url(rotation.nextKey) === publicKey) return publicKey;
  }
  return undefined;
}
