import { isInTime, signRotation } from '../../core/rotation/rotation';
import type { Env } from '../../process/home';
import type { FileStore } from '../../storage/files/file-store';
import { changeRotation, issuedAtOf } from '../rotation/change-rotation';
import type { OwnRotation } from '../rotation/rotation-file';
import { openBoth } from './statements';

/** A statement is made anew a week before its end. */
const DUE_MS = 7 * 86_400_000;

/** Makes statements anew that are too old for targets that have not accepted the next key. */
export async function renewStatements(
  store: FileStore,
  rotation: OwnRotation,
  env: Env,
): Promise<OwnRotation> {
  const nowMs = Date.now();
  const old = Object.entries(rotation.targets).filter(
    ([, { state, statement }]) =>
      state !== 'accepted' && !isInTime({ issuedAt: issuedAtOf(statement) ?? 0 }, nowMs + DUE_MS),
  );
  if (old.length === 0) return rotation;
  const keys = await openBoth(store, rotation, env);
  const renewed: Record<string, string> = {};
  for (const [targetId] of old) renewed[targetId] = await signRotation({ ...keys, targetId, nowMs });
  const changed = await changeRotation(store, (now) => {
    if (now.own !== rotation.own) return undefined;
    const targets = Object.entries(now.targets).map(([id, told]) => [
      id,
      renewed[id] === undefined || told.state === 'accepted' ? told : { ...told, statement: renewed[id] },
    ]);
    return { ...now, targets: Object.fromEntries(targets) };
  });
  return changed ?? rotation;
}
