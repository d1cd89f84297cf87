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
import { changeRotation, endRotation, rotationChanged } from '../rotation/change-rotation';
import { formerIdentity } from '../rotation/next-identity';
import { trustDuring } from '../rotation/own-trust';
import { isOf, type OwnRotation, readRotationFile, unwithdrawn } from '../rotation/rotation-file';
import { SETUP } from '../setup/setup';
import { removeKey } from './finish';
import { type TellOptions, type Told, targetsAt, tellTargets } from './tell';

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
 *   `store_busy`, `store_conflict` if another command has changed the rotation meanwhile; of the key backend of the former key
 */
export async function withdrawRotation(
  device: Device,
  env: Env,
  { urls = [], force = false, fetch, onChange }: WithdrawOptions = {},
): Promise<Withdrawn> {
  const { store } = device;
  const { own } = await expectRotation(store);
  const { rotation, former } = await store.locked(SETUP, () => mark(device, own, urls, env, onChange));
  const told = await tellTargets(device, rotation, 'withdraw', urls, env, { fetch, onChange });
  const done = await store.locked(SETUP, async (assertHeld) => {
    const present = await expectIdentity(store);
    const found = await readRotationFile(store);
    if (found?.own === own) return goBack({ store, env, former, force, assertHeld }, found);
    if (present.deviceId === rotation.former.deviceId) return { identity: present, left: [] }; // another command has done it
    throw rotationChanged(store);
  });
  return { rotation, told, ...done };
}

/** @throws AmeshError `not_rotating` */
async function expectRotation(store: FileStore): Promise<OwnRotation> {
  const [rotation, present] = [await readRotationFile(store), await readIdentity(store)];
  if (rotation === null || present === null || !isOf(rotation, present))
    throw new AmeshError(MACHINE_CODES.not_rotating);
  return rotation;
}

async function expectIdentity(store: FileStore): Promise<DeviceIdentity> {
  const identity = await readIdentity(store);
  if (identity === null) throw new NoIdentityError(store.dir);
  return identity;
}

/**
 * Marks a rotation as withdrawn: no other command goes on with it from then on, so this checks first whether that can succeed.
 *
 * @param own the statement of the rotation
 * @returns the rotation, and its former key, opened
 * @throws AmeshError like {@link withdrawRotation}
 */
async function mark(
  device: Device,
  own: string,
  urls: readonly URL[],
  env: Env,
  onChange: TellOptions['onChange'],
): Promise<{ readonly rotation: OwnRotation; readonly former: Signer }> {
  const { store, trust } = device;
  const found = await expectRotation(store);
  if (found.own !== own) throw rotationChanged(store); // while this command waited for the lock
  await assertOwnListOnly(device, found, env);
  targetsAt(await trust.read(), urls);
  const former = await open(found.former, store.dir, env);
  const withdrawnAt = Math.floor(Date.now() / 1000);
  onChange?.();
  const rotation = await changeRotation(store, (now) =>
    now.withdrawnAt === undefined ? { ...now, withdrawnAt } : undefined,
  );
  return { rotation: rotation ?? found, former };
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

interface GoingBack {
  readonly store: FileStore;
  readonly env: Env;
  /** The former key. */
  readonly former: Signer;
  /** Whether to give up targets that may not know it. */
  readonly force: boolean;
  readonly assertHeld: () => void;
}

/**
 * Seals the list with the former key, gives that key to the identity, removes the next key, and ends the rotation if all targets know
 * that it was withdrawn.
 */
async function goBack(
  going: GoingBack,
  rotation: OwnRotation,
): Promise<Pick<Withdrawn, 'identity' | 'left'>> {
  const { store, env, former, force, assertHeld } = going;
  const owners = await trustDuring(rotation, await expectIdentity(store), env);
  const trust = openTrust(store, { ...owners, signer: former }, sharedStoreOf(env));
  const list = await trust.read();
  const back = await statementBack(rotation, former, store.dir, env);
  assertHeld();
  await trust.takeOver((draft) => {
    moveOwner(draft, draft.before, back);
    cancelPendingTokens(draft, Math.floor(Date.now() / 1000));
  });
  assertHeld();
  const identity = await swapBack(store, rotation, back);
  await removeKey(store, rotation.next, env);
  let left: string[] = [];
  assertHeld();
  await endRotation(store, rotation.own, (now) => {
    left = unwithdrawn(now, (id) => (force ? undefined : list.entry(id)));
    return left.length === 0;
  });
  return { identity, left };
}

/** Gives the former key to the identity, in one step. */
async function swapBack(
  store: FileStore,
  rotation: OwnRotation,
  back: string | undefined,
): Promise<DeviceIdentity> {
  for (;;) {
    const bytes = await store.read(IDENTITY_KEY);
    const present = await expectIdentity(store);
    if (bytes === null || present.deviceId !== rotation.next.deviceId) return present;
    const identity = formerIdentity(present, rotation, back);
    if (await writeIdentity(store, bytes, identity)) return identity; // otherwise the device was renamed in the meantime
  }
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
