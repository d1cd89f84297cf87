import type { Signer } from '../../core/crypto/provider';
import { signRotation } from '../../core/rotation/rotation';
import { findBackend } from '../../keys/backends';
import type { Env } from '../../process/home';
import type { FileStore } from '../../storage/files/file-store';
import type { DeviceEntry } from '../../trust/format/entry';
import { changeRotation } from '../rotation/change-rotation';
import type { OwnRotation, ToldTarget } from '../rotation/rotation-file';

/** The two keys of a rotation, opened. */
export interface BothKeys {
  readonly former: Signer;
  readonly next: Signer;
}

/** @throws AmeshError of the key backends */
export async function openBoth(
  store: FileStore,
  { former, next }: Pick<OwnRotation, 'former' | 'next'>,
  env: Env,
): Promise<BothKeys> {
  const [first, second] = await Promise.all(
    [former.key, next.key].map(({ backend, ref }) => findBackend(backend).open(ref, { dir: store.dir, env })),
  );
  return { former: first as Signer, next: second as Signer };
}

/** The statements for the targets among some devices that do not know the next key yet. @throws what the signers throw */
export async function untoldTargets(
  keys: BothKeys,
  devices: Iterable<Pick<DeviceEntry, 'deviceId' | 'roles'>>,
  nowMs: number,
): Promise<Record<string, ToldTarget>> {
  const targets: Record<string, ToldTarget> = {};
  const at = Math.floor(nowMs / 1000);
  for (const { deviceId: targetId, roles } of devices) {
    if (!roles.includes('target')) continue;
    const statement = await signRotation({ ...keys, targetId, nowMs });
    targets[targetId] = { statement, state: 'untold', isProven: false, at };
  }
  return targets;
}

/**
 * Adds the targets that were paired since the statements were made, and know only the former key. A rotation may wait for days
 * until all instances have both keys.
 */
export async function addTargets(
  store: FileStore,
  rotation: OwnRotation,
  keys: BothKeys,
  devices: readonly DeviceEntry[],
): Promise<OwnRotation> {
  const missing = devices.filter(({ deviceId }) => !Object.hasOwn(rotation.targets, deviceId));
  const added = await untoldTargets(keys, missing, Date.now());
  if (Object.keys(added).length === 0) return rotation;
  const changed = await changeRotation(store, (now) =>
    now.own === rotation.own ? { ...now, targets: { ...added, ...now.targets } } : undefined,
  );
  return changed ?? rotation;
}
