import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { findBackend } from '../../keys/backends';
import type { Env } from '../../process/home';
import type { FileStore } from '../../storage/files/file-store';
import type { Device } from '../../trust/device';
import type { PagedList } from '../../trust/format/paged-list';
import { type DeviceIdentity, readIdentity } from '../../trust/identity';
import { MACHINE_CODES } from '../errors/codes';
import { endRotation } from '../rotation/change-rotation';
import { hasSaid, isOf, type OwnRotation, openRotationFile } from '../rotation/rotation-file';
import { SETUP } from '../setup/setup';
import { named } from './named';
import { takenBack } from './taken-back';
import { type TellOptions, type Told, tellTargets } from './tell';

/** How to end a rotation. */
export interface FinishOptions extends TellOptions {
  /** Whether to give up targets that have not accepted the next key; default false. */
  readonly force?: boolean | undefined;
  /** URLs of targets to tell that the former key ends. From then on, it counts there for 25 hours. */
  readonly urls?: readonly URL[] | undefined;
}

/** A rotation that is over. */
export interface Finished {
  /** The rotation, as it was. */
  readonly rotation: OwnRotation;
  /** What the targets at `urls` have answered. */
  readonly told: readonly Told[];
  /** The IDs of targets that have not accepted the next key, or have not proven that. */
  readonly left: readonly string[];
}

/**
 * Ends a rotation: removes the former key. From then on, only the next key signs.
 *
 * @throws AmeshError `not_rotating`, `rotation_final` if it is being withdrawn, `rotation_unfinished`, `rotation_unreadable`,
 *   `unknown_name`, `store_busy`; of the key backend
 */
export async function finishRotation(
  device: Device,
  env: Env,
  { force = false, urls = [], fetch, onChange }: FinishOptions = {},
): Promise<Finished> {
  const { store, trust } = device;
  const rotation = expectRotation(await readBoth(store));
  const assertFollowed = async (found: OwnRotation) => {
    const list = await trust.read();
    const left = leftOf(found, list);
    if (left.length > 0 && !force) throw unfinished(found, left, list);
    return left;
  };
  await assertFollowed(rotation);
  const told = await tellTargets(device, rotation, 'retire', urls, env, { fetch, onChange });
  const left = await store.locked(SETUP, async (assertHeld) => {
    // While the targets were told, another command may have withdrawn the rotation, or a target may have forgotten the next key.
    const found = await readBoth(store);
    if (isFinished(found, rotation)) return [];
    const left = await assertFollowed(expectRotation(found, rotation.own, told));
    assertHeld();
    onChange?.();
    await removeKey(store, rotation.former, env);
    assertHeld();
    await endRotation(store, rotation.own);
    return left;
  });
  return { rotation, told, left };
}

/** The IDs of targets in a list that have not accepted the next key, or have not proven that. */
function leftOf({ targets }: OwnRotation, list: Pick<PagedList, 'entry'>): string[] {
  return Object.entries(targets).flatMap(([id, told]) => {
    const target = list.entry(id);
    return target === undefined || hasSaid(told, 'accepted', target) ? [] : [id];
  });
}

function unfinished(
  { next, targets }: OwnRotation,
  left: readonly string[],
  list: Pick<PagedList, 'entry'>,
): AmeshError {
  const waiting = left.filter((id) => targets[id]?.state === 'waiting');
  const isMixed = waiting.length < left.length;
  const where = [
    waiting.length > 0 &&
      `${isMixed ? `At ${named(waiting, list)} it` : 'It'} waits for an administrator there: amesh rotate accept ${next.deviceId}.`,
    isMixed &&
      'If all instances of a target only verify, its administrator adds the next key there, by amesh trust add with what amesh trust export prints here. Then run amesh rotate URL here.',
  ].filter((text) => text !== false);
  return new AmeshError(
    MACHINE_CODES.rotation_unfinished,
    `${left.length === 1 ? 'This target has' : 'These targets have'} not accepted the next key, or not proven that: ${named(left, list)}. ${where.join(' ')}`,
  );
}

/** What a folder says about its key. */
interface Found {
  readonly rotation: OwnRotation | undefined;
  readonly identity: DeviceIdentity | null;
}

async function readBoth(store: FileStore): Promise<Found> {
  return { rotation: (await openRotationFile(store))?.rotation, identity: await readIdentity(store) };
}

/** Whether another command has finished a rotation. If it was withdrawn instead, the identity has its former key. */
function isFinished({ rotation, identity }: Found, { own, next }: OwnRotation): boolean {
  if (rotation?.own === own) return false;
  return identity?.deviceId === next.deviceId || identity?.was?.includes(next.deviceId) === true;
}

/**
 * @param own the statement of the rotation; default: any
 * @param told the targets that were told that the former key ends
 * @throws AmeshError `not_rotating` if there is no rotation, or this machine does not have the next key; `rotation_final` if it is
 * being withdrawn
 */
function expectRotation(
  { rotation, identity }: Found,
  own = rotation?.own,
  told: readonly Told[] = [],
): OwnRotation {
  const isOwn =
    rotation !== undefined && rotation.own === own && identity !== null && isOf(rotation, identity);
  if (!isOwn) throw new AmeshError(MACHINE_CODES.not_rotating);
  if (rotation.withdrawnAt !== undefined) throw takenBack(told.map(({ url }) => url));
  if (identity.deviceId !== rotation.next.deviceId) throw new AmeshError(MACHINE_CODES.not_rotating);
  return rotation;
}

/** Removes a key that nothing names any more. A key that cannot be removed stays, and stops nothing. */
export async function removeKey(
  store: FileStore,
  { key }: Pick<DeviceIdentity, 'key'>,
  env: Env,
): Promise<void> {
  await findBackend(key.backend)
    .remove(key.ref, { dir: store.dir, env })
    .catch((error) => {
      if (!isAmeshError(error)) throw error;
    });
}
