import { fromBase64Url } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { parseObject } from '../../core/strict-json';
import { STORAGE_CODES } from '../../storage/errors/codes';
import type { FileStore } from '../../storage/files/file-store';
import { type OwnRotation, openRotationFile, type ToldTarget, writeRotationFile } from './rotation-file';

/** Changes the rotation of a folder, and tries again if another process was faster. */
const ATTEMPTS = 20;

/**
 * Changes the rotation of a folder.
 *
 * @param change returns what to write; undefined to leave it
 * @returns the rotation as it is now; null if none goes on
 * @throws AmeshError `rotation_unreadable`, `store_conflict`; what writing throws
 */
export async function changeRotation(
  store: FileStore,
  change: (rotation: OwnRotation) => OwnRotation | undefined,
): Promise<OwnRotation | null> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = await openRotationFile(store);
    if (found === null) return null;
    const next = change(found.rotation);
    if (next === undefined) return found.rotation;
    if (await writeRotationFile(store, found.bytes, next)) return next;
  }
  throw new AmeshError(STORAGE_CODES.store_conflict);
}

/** Writes down what a target has answered to its statement. */
export async function noteAnswer(store: FileStore, targetId: string, told: ToldTarget): Promise<void> {
  await changeRotation(store, (rotation) => {
    const known = Object.hasOwn(rotation.targets, targetId) ? rotation.targets[targetId] : undefined;
    if (known?.statement !== told.statement) return undefined; // of another rotation
    if (known.state === told.state && known.isProven === told.isProven) return undefined;
    return { ...rotation, targets: { ...rotation.targets, [targetId]: told } };
  });
}

/** When a statement of this folder was made, in Unix seconds; null if it is none. Its signatures are not checked. */
export function issuedAtOf(statement: string): number | null {
  const payload = fromBase64Url(statement.split('.', 1)[0] ?? '');
  const { iat } = (payload && parseObject(payload)) ?? {};
  return Number.isSafeInteger(iat) ? (iat as number) : null;
}
