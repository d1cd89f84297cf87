import { join } from 'node:path';
import { fromBase64Url } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { parseObject } from '../../core/strict-json';
import { STORAGE_CODES } from '../../storage/errors/codes';
import type { FileStore } from '../../storage/files/file-store';
import {
  type OwnRotation,
  openRotationFile,
  ROTATION_KEY,
  type ToldTarget,
  writeRotationFile,
} from './rotation-file';

/** How often a change is tried, if other processes are faster. */
const ATTEMPTS = 20;

/**
 * Changes the rotation of a folder.
 *
 * @param change returns what to write; undefined to change nothing
 * @returns the rotation as it is now; null if there is none
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
  throw rotationChanged(store);
}

/**
 * Removes the rotation of a folder, even if another process notes an answer at the same time.
 *
 * @param own the statement of the rotation; another one stays
 * @param isOver whether it may be removed in its present state; default: yes
 * @throws AmeshError `rotation_unreadable`, `store_conflict`, `store_busy`
 */
export async function endRotation(
  store: FileStore,
  own: string,
  isOver: (rotation: OwnRotation) => boolean = () => true,
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = await openRotationFile(store);
    if (found?.rotation.own !== own || !isOver(found.rotation)) return;
    if (await store.remove(ROTATION_KEY, found.bytes)) return;
  }
  throw rotationChanged(store);
}

/** The error if other processes were faster. */
export function rotationChanged({ dir }: FileStore): AmeshError {
  return new AmeshError(
    STORAGE_CODES.store_conflict,
    `Another process changed ${join(dir, ROTATION_KEY)} at the same moment.`,
  );
}

/** What targets have answered, by their IDs. */
export type Answered = ReadonlyMap<string, ToldTarget>;

/**
 * Writes to the folder what targets have answered to their statements. Without a proof, nothing replaces what a target has proven.
 */
export async function noteAnswers(store: FileStore, answered: Answered): Promise<void> {
  await changeRotation(store, (rotation) => {
    const changed = [...answered].filter(([targetId, told]) => {
      const known = toldOf(rotation, targetId);
      // An answer may come after the rotation was taken back.
      if (rotation.withdrawnAt !== undefined && told.state !== 'withdrawn') return false;
      return known?.statement === told.statement && isNews(told, known); // otherwise it belongs to another rotation
    });
    if (changed.length === 0) return undefined;
    return { ...rotation, targets: { ...rotation.targets, ...Object.fromEntries(changed) } };
  });
}

/** Whether an answer says more than what is known, and may replace it. */
export function isNews(told: ToldTarget, known: ToldTarget): boolean {
  if (told.state === known.state && told.isProven === known.isProven) return false;
  if (told.isProven || !known.isProven) return true;
  // Two answers need no proof. That a target refuses a key that it accepted before only makes the former key sign again. And a
  // withdrawal ends nothing before it is proven.
  return told.state === 'untold' || (told.state === 'withdrawn' && known.state !== 'withdrawn');
}

/** What was sent to a target; undefined if it is not a target of this rotation. */
export function toldOf({ targets }: Pick<OwnRotation, 'targets'>, targetId: string): ToldTarget | undefined {
  return Object.hasOwn(targets, targetId) ? targets[targetId] : undefined;
}

/** When a statement of this folder was made, in Unix seconds; null if it is not a statement. Its signatures are not checked. */
export function issuedAtOf(statement: string): number | null {
  const payload = fromBase64Url(statement.split('.', 1)[0] ?? '');
  const { iat } = (payload && parseObject(payload)) ?? {};
  return Number.isSafeInteger(iat) ? (iat as number) : null;
}
