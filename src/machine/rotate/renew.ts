import { isInTime, signRotation } from '../../core/rotation/rotation';
import type { Env } from '../../process/home';
import type { DocumentStore } from '../../storage/document-store';
import type { FileStore } from '../../storage/files/file-store';
import { openTrust } from '../../trust/device';
import type { ListHead } from '../../trust/format/head';
import type { DeviceIdentity } from '../../trust/identity';
import { changeRotation, issuedAtOf } from '../rotation/change-rotation';
import { trustDuring } from '../rotation/own-trust';
import type { OwnRotation } from '../rotation/rotation-file';
import { openBoth } from './statements';

/** A statement is renewed a week before its end. */
const DUE_MS = 7 * 86_400_000;

/**
 * Renews the statement by which callers follow this machine, if its list still has the statement of this rotation.
 *
 * @throws what reading the list, the key backends and the store throw
 */
export async function renewSuccession(
  store: FileStore,
  shared: DocumentStore | null,
  rotation: OwnRotation,
  identity: DeviceIdentity,
  env: Env,
): Promise<void> {
  const owners = await trustDuring(rotation, identity, env);
  const isOld = ({ owner, succession }: ListHead) =>
    owner === rotation.next.publicKey && succession !== undefined && isDue(succession, Date.now());
  if (!isOld(await openTrust(store, { ...owners, signer: undefined }, shared).readHead())) return;
  const keys = await openBoth(store, rotation, env);
  const text = await signRotation({ ...keys, targetId: rotation.former.deviceId, nowMs: Date.now() });
  await openTrust(store, { ...owners, signer: keys.next }, shared).update((draft) => {
    if (isOld(draft.before)) draft.change({ succession: text });
  });
}

function isDue(statement: string, nowMs: number): boolean {
  return !isInTime({ issuedAt: issuedAtOf(statement) ?? 0 }, nowMs + DUE_MS);
}

/**
 * Renews statements that are too old for targets that have not accepted the next key.
 *
 * @param onChange called before they are written
 */
export async function renewStatements(
  store: FileStore,
  rotation: OwnRotation,
  env: Env,
  onChange?: () => void,
): Promise<OwnRotation> {
  const nowMs = Date.now();
  const old = Object.entries(rotation.targets).filter(
    // If a target has cut off the keys of this machine, it refuses what was signed before, and accepts what is signed after that.
    ([, { state, statement, at }]) =>
      state !== 'accepted' &&
      (isDue(statement, nowMs) || (state === 'refused' && (issuedAtOf(statement) ?? 0) < at)),
  );
  if (old.length === 0) return rotation;
  const keys = await openBoth(store, rotation, env);
  const renewed: Record<string, string> = {};
  for (const [targetId] of old) renewed[targetId] = await signRotation({ ...keys, targetId, nowMs });
  onChange?.();
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
