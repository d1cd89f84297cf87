import type { Signer } from '../../core/crypto/provider';
import { AmeshError } from '../../core/errors/amesh-error';
import { signRotation } from '../../core/rotation/rotation';
import { findBackend } from '../../keys/backends';
import type { Env } from '../../process/home';
import type { FileStore } from '../../storage/files/file-store';
import { type Device, openTrust } from '../../trust/device';
import { NoIdentityError } from '../../trust/errors/no-identity';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity, writeIdentity } from '../../trust/identity';
import { moveOwner } from '../../trust/moves/move-owner';
import { sharedStoreOf } from '../../trust/shared-store';
import { cancelPendingTokens } from '../../trust/tokens';
import { MACHINE_CODES } from '../errors/codes';
import { changeRotation, endRotation } from '../rotation/change-rotation';
import { formerIdentity } from '../rotation/next-identity';
import { trustDuring } from '../rotation/own-trust';
import { isOf, type OwnRotation, openRotationFile, unwithdrawn } from '../rotation/rotation-file';
import { SETUP } from '../setup/setup';
import { removeKey } from './finish';
import { type TellOptions, type Told, tellTargets } from './tell';

/** How to take a rotation back. */
export interface WithdrawOptions extends TellOptions {
  /** URLs of targets that learn now that the next key does not count. */
  readonly urls?: readonly URL[] | undefined;
  /** Whether to give up targets that do not know that; default false. */
  readonly force?: boolean | undefined;
}

/** A rotation that was taken back. */
export interface Withdrawn {
  /** The rotation, as it was. */
  readonly rotation: OwnRotation;
  /** The identity of this machine now. */
  readonly identity: DeviceIdentity;
  /** What the targets at the URLs have answered. */
  readonly told: readonly Told[];
  /** The IDs of targets that may not know it yet. Programs tell them with their next requests. */
  readonly left: readonly string[];
}

/**
 * Takes a rotation back: gives the former key to the machine again, and tells targets. Called again, after an interruption or for
 * more targets, it continues where it was.
 *
 * @throws AmeshError `not_rotating`, `rotation_final` if other instances have seen a list of the next key, `unknown_name`,
 *   `store_busy`; of the key backend of the former key
 */
export async function withdrawRotation(
  device: Device,
  env: Env,
  { urls = [], force = false, fetch }: WithdrawOptions = {},
): Promise<Withdrawn> {
  const { store, trust } = device;
  const found = await openRotationFile(store);
  const present = await readIdentity(store);
  if (found === null || present === null || !isOf(found.rotation, present))
    throw new AmeshError(MACHINE_CODES.not_rotating);
  await assertOwnListOnly(device, found.rotation, env);
  const withdrawnAt = Math.floor(Date.now() / 1000);
  const mark = (rotation: OwnRotation) =>
    rotation.withdrawnAt === undefined ? { ...rotation, withdrawnAt } : undefined;
  const rotation = await store.locked(SETUP, () => changeRotation(store, mark));
  if (rotation === null) throw new AmeshError(MACHINE_CODES.not_rotating);
  const told = await tellTargets(device, rotation, 'withdraw', urls, env, { fetch });
  const list = await trust.read();
  const identity = await store.locked(SETUP, (assertHeld) => goBack(store, rotation, env, assertHeld));
  const left = await forget(store, rotation, env, (id) => (force ? undefined : list.entry(id)));
  return { rotation, identity, told, left };
}

/**
 * @throws AmeshError `rotation_final` if instances elsewhere have seen a list of the next key: they refuse all lists of the former
 * key
 */
async function assertOwnListOnly({ trust }: Device, { next }: OwnRotation, env: Env): Promise<void> {
  const isElsewhere = sharedStoreOf(env) !== null || Boolean(env.AMESH_OWNER_KEY);
  if (!isElsewhere || (await trust.readHead()).owner !== next.publicKey) return;
  throw new AmeshError(
    MACHINE_CODES.rotation_final,
    'The next key has sealed the list that other instances read, and they refuse every list of the former key from then on.',
  );
}

/** Seals the list with the former key, gives that key to the identity, and removes the next key. */
async function goBack(
  store: FileStore,
  rotation: OwnRotation,
  env: Env,
  assertHeld: () => void,
): Promise<DeviceIdentity> {
  const former = await open(rotation.former, store.dir, env);
  for (;;) {
    const bytes = await store.read(IDENTITY_KEY);
    const present = await readIdentity(store);
    if (present === null || bytes === null) throw new NoIdentityError(store.dir);
    const back = await statementBack(rotation, former, store.dir, env);
    const trust = await trustDuring(rotation, present, env);
    await openTrust(store, { ...trust, signer: former }, sharedStoreOf(env)).takeOver((draft) => {
      moveOwner(draft, draft.before, back);
      cancelPendingTokens(draft, Math.floor(Date.now() / 1000));
    });
    if (present.deviceId !== rotation.next.deviceId) return present;
    const identity = formerIdentity(present, rotation, back);
    assertHeld();
    if (await writeIdentity(store, bytes, identity)) return identity; // otherwise the device was renamed in the meantime
  }
}

/**
 * Removes the next key, and ends the rotation if all targets know that it was withdrawn.
 *
 * @returns the IDs of targets that may not know it
 */
async function forget(
  store: FileStore,
  { own, next }: OwnRotation,
  env: Env,
  entryOf: Parameters<typeof unwithdrawn>[1],
): Promise<string[]> {
  return store.locked(SETUP, async (assertHeld) => {
    const found = await openRotationFile(store);
    if (found?.rotation.own !== own) return []; // another command has done it
    await removeKey(store, next, env);
    let left: string[] = [];
    assertHeld();
    await endRotation(store, own, (rotation) => {
      left = unwithdrawn(rotation, entryOf);
      return left.length === 0;
    });
    return left;
  });
}

/** The statement that shows running processes that the former key is right again; undefined if the next key can no longer sign. */
async function statementBack(
  { next }: OwnRotation,
  former: Signer,
  dir: string,
  env: Env,
): Promise<string | undefined> {
  try {
    const signer = await open(next, dir, env);
    return await signRotation({ former: signer, next: former, targetId: next.deviceId, nowMs: Date.now() });
  } catch {
    return undefined;
  }
}

function open({ key }: Pick<DeviceIdentity, 'key'>, dir: string, env: Env): Promise<Signer> {
  return findBackend(key.backend).open(key.ref, { dir, env });
}
