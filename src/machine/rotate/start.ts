import { cryptoProvider } from '#crypto';
import type { Signer } from '../../core/crypto/provider';
import { deviceIdOf } from '../../core/devices/allow-list';
import { toBase64Url } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { signRotation } from '../../core/rotation/rotation';
import type { KeyBackend } from '../../keys/backend';
import { findBackend } from '../../keys/backends';
import { KEY_CODES } from '../../keys/errors/codes';
import { external } from '../../keys/external';
import type { Env } from '../../process/home';
import type { DocumentStore } from '../../storage/document-store';
import { FileStore } from '../../storage/files/file-store';
import { openTrust } from '../../trust/device';
import { NoIdentityError } from '../../trust/errors/no-identity';
import { assertFolder } from '../../trust/folder-safety';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity, writeIdentity } from '../../trust/identity';
import { readableDevices } from '../../trust/list/readable';
import { moveOwner } from '../../trust/moves/move-owner';
import { sharedStoreOf } from '../../trust/shared-store';
import { cancelPendingTokens } from '../../trust/tokens';
import { MACHINE_CODES } from '../errors/codes';
import { rotationChanged } from '../rotation/change-rotation';
import { nextIdentity } from '../rotation/next-identity';
import { ownTrust, trustDuring } from '../rotation/own-trust';
import {
  isOf,
  type OwnRotation,
  openRotationFile,
  unwithdrawn,
  writeRotationFile,
} from '../rotation/rotation-file';
import { assertOtherKey, SETUP } from '../setup/setup';
import { named } from './named';
import { renewStatements, renewSuccession } from './renew';
import { addTargets, openBoth, untoldTargets } from './statements';
import { takenBack } from './taken-back';

/** How to replace the key of a machine. */
export interface RotateOptions {
  /** The key backend of the next key; default: the backend of the present key. */
  readonly backend?: string | undefined;
  /** For `ssh-agent`: the key, by its fingerprint (`SHA256:…`) or its comment. Default: the only key that fits. */
  readonly agentKey?: string | undefined;
  /** For `ssh-agent`: the socket of the agent, an absolute path. Default: as for `createIdentity()`. */
  readonly agentSocket?: string | undefined;
  /**
   * Called before the next key seals a list that other instances read: returns whether each of them has both keys in
   * AMESH_OWNER_KEY. Default: they do not.
   */
  readonly haveInstancesBoth?: ((owners: string) => Promise<boolean>) | undefined;
  /** Called before each step that changes something: a file, a key, or the list. */
  readonly onChange?: (() => void) | undefined;
}

/** A rotation that was begun or continued. */
export interface Rotating {
  /** Which targets know the next key. */
  readonly rotation: OwnRotation;
  /** The identity of this machine now. */
  readonly identity: DeviceIdentity;
  /** Whether this call has made the next key. */
  readonly isNew: boolean;
  /** Whether this machine uses the next key since this call. */
  readonly isSwapped: boolean;
  /** The AMESH_OWNER_KEY that each instance needs before this can go on; null if nothing is missing. */
  readonly waitsForOwners: string | null;
  /** The IDs of provision tokens that this call has cancelled: machines that take them would trust only the former key. */
  readonly cancelled: readonly string[];
}

/**
 * Replaces the key of a machine: makes the next key, signs a statement for each target, seals the list with the next key, and gives
 * that key to the identity. After an interruption it continues where it was. If all of this was done before, it renews statements
 * that are too old.
 *
 * @throws NoIdentityError; AmeshError of a key backend, and `rotation_unreadable`, `rotation_final`, `store_busy`, `store_conflict`; what
 *   reading the list throws
 */
export async function rotateKey(dir: string, env: Env, options: RotateOptions = {}): Promise<Rotating> {
  assertFolder(dir, env, 'read');
  const store = new FileStore(dir);
  const shared = sharedStoreOf(env);
  return store.locked(SETUP, async (assertHeld) => {
    const identity = await readIdentity(store);
    if (identity === null) throw new NoIdentityError(dir);
    const found = await openRotationFile(store);
    const known = found !== null && isOf(found.rotation, identity) ? found.rotation : null;
    const isBack = known !== null && (await isTakenBack(known, { store, shared, identity, env }));
    const going = isBack ? null : known;
    if (going !== null) assertSameBackend(going, options);
    const rotation = going ?? (await begin({ store, shared, identity, env, assertHeld, found }, options));
    const isNew = going === null;
    if (identity.deviceId === rotation.next.deviceId) {
      const renewed = await renewStatements(store, rotation, env, options.onChange);
      await renewSuccession(store, shared, rotation, identity, env);
      const as = { isNew, isSwapped: false, waitsForOwners: null, cancelled: [] };
      return { rotation: renewed, identity, ...as };
    }
    const waitsForOwners = await ownersToSet(rotation, identity, env, shared, options);
    const unchanged = { isNew, isSwapped: false, waitsForOwners, cancelled: [] };
    if (waitsForOwners !== null) return { rotation, identity, ...unchanged };
    const sealing = { store, shared, rotation, identity, env, assertHeld, onChange: options.onChange };
    const { sealed, cancelled } = await seal(sealing);
    assertHeld();
    const swapped = { isNew, isSwapped: true, waitsForOwners, cancelled };
    return { rotation: sealed, identity: await swap(store, sealed), ...swapped };
  });
}

/** @throws AmeshError `rotation_unfinished` if the next key was made before, with another backend */
function assertSameBackend({ next }: OwnRotation, { backend }: RotateOptions): void {
  if (backend === undefined || findBackend(backend).id === next.key.backend) return;
  throw new AmeshError(
    MACHINE_CODES.rotation_unfinished,
    `The key of this machine is being replaced by ${next.deviceId} already, whose backend is ${next.key.backend}.`,
    {
      fix: 'Finish that with amesh rotate finish before you begin the next rotation, or withdraw it',
      command: ['amesh', 'rotate', 'withdraw'],
    },
  );
}

/**
 * Whether the last rotation was withdrawn, and all targets know that. If a target knows one next key, and then learns another one,
 * it revokes the device.
 *
 * @throws AmeshError `rotation_final`, `rotation_unfinished`
 */
async function isTakenBack(
  rotation: OwnRotation,
  { store, shared, identity, env }: Omit<Beginning, 'assertHeld' | 'found'>,
): Promise<boolean> {
  if (rotation.withdrawnAt === undefined) return false;
  if (identity.deviceId !== rotation.former.deviceId) throw takenBack();
  const list = await openTrust(store, await trustDuring(rotation, identity, env), shared).read();
  const left = unwithdrawn(rotation, (id) => list.entry(id));
  if (left.length === 0) return true;
  throw new AmeshError(
    MACHINE_CODES.rotation_unfinished,
    `The last rotation was withdrawn, and these targets may not know that: ${named(left, list)}. If they learn of another next key before that, they revoke this machine.`,
    {
      fix: 'They learn of it with the next request to them. To announce it to one now, or to give them up with --force',
      command: ['amesh', 'rotate', 'withdraw', 'URL'],
    },
  );
}

interface Beginning {
  readonly store: FileStore;
  readonly shared: DocumentStore | null;
  readonly identity: DeviceIdentity;
  readonly env: Env;
  readonly assertHeld: () => void;
  /** The file that a former identity has left behind. */
  readonly found: { readonly bytes: Uint8Array } | null;
}

/** Makes the next key and all statements while both keys are open, and writes them to the folder. */
async function begin(beginning: Beginning, options: RotateOptions): Promise<OwnRotation> {
  const { store, identity, env, assertHeld, found } = beginning;
  const backend = findBackend(options.backend ?? identity.key.backend);
  if (backend === external || identity.key.backend === external.id) throw outside();
  const { agentKey, agentSocket } = options;
  const context = { dir: store.dir, env, agentKey, agentSocket };
  const former = await findBackend(identity.key.backend).open(identity.key.ref, context);
  const probe = await backend.probe(context);
  if (!probe.available) throw new AmeshError(KEY_CODES.key_backend_unavailable, probe.reason, probe.advice);
  const made = await backend.create(context);
  try {
    await assertOtherKey(store, made.publicKey);
    const next = await backend.open(made.ref, context);
    const rotation = await describe(beginning, { former, next, backend, ref: made.ref });
    assertHeld();
    options.onChange?.();
    if (!(await writeRotationFile(store, found?.bytes ?? null, rotation))) throw rotationChanged(store);
    return rotation;
  } catch (error) {
    if (!(await mayName(store, made))) await backend.remove(made.ref, context).catch(() => {});
    throw error;
  }
}

/** Whether the file may name a key. It may if it was written but not synced, or cannot be read. */
async function mayName(
  store: FileStore,
  { publicKey }: { readonly publicKey: Uint8Array },
): Promise<boolean> {
  try {
    const found = await openRotationFile(store);
    return found?.rotation.next.publicKey === toBase64Url(publicKey);
  } catch {
    return true;
  }
}

function outside(): AmeshError {
  return new AmeshError(
    KEY_CODES.key_backend_unavailable,
    'amesh does not hold the key of this machine, or would not hold the next one, so it cannot make the statement that both sign.',
    { fix: 'Make a new identity, and pair again. See docs/keys.md, "Rotate a key".' },
  );
}

async function describe(
  { store, shared, identity, env }: Beginning,
  keys: {
    readonly former: Signer;
    readonly next: Signer;
    readonly backend: KeyBackend;
    readonly ref: string;
  },
): Promise<OwnRotation> {
  const { former, next, backend, ref } = keys;
  const nowMs = Date.now();
  const at = Math.floor(nowMs / 1000);
  const deviceId = await deviceIdOf(next.publicKey, cryptoProvider);
  const trust = await ownTrust(store, identity, env);
  const list = await openTrust(store, { ...trust, signer: former }, shared).read();
  const { devices } = readableDevices(list);
  if (devices.some((device) => device.deviceId === deviceId))
    throw new AmeshError(
      KEY_CODES.key_not_chosen,
      `The next key is that of a device in the list, ${deviceId}.`,
    );
  const own = await signRotation({ former, next, targetId: identity.deviceId, nowMs });
  const targets = await untoldTargets(keys, devices, nowMs);
  const publicKey = toBase64Url(next.publicKey);
  const key = { backend: backend.id, ref };
  return { former: identity, next: { deviceId, publicKey, createdAt: at, key }, startedAt: at, own, targets };
}

/**
 * Whether instances have to know both keys first.
 *
 * @returns the value of AMESH_OWNER_KEY that they need; null if they have it
 */
async function ownersToSet(
  { former, next }: OwnRotation,
  identity: DeviceIdentity,
  env: Env,
  shared: DocumentStore | null,
  { haveInstancesBoth }: RotateOptions,
): Promise<string | null> {
  const owners = `${former.publicKey},${next.publicKey}`;
  const { AMESH_OWNER_KEY = '' } = env;
  const named = AMESH_OWNER_KEY.split(',').map((key) => key.trim());
  // With this environment, instances would refuse the list that the next key seals.
  if (named.includes(identity.publicKey) && !named.includes(next.publicKey)) return owners;
  if (shared === null && !named.includes(identity.publicKey)) return null;
  return (await haveInstancesBoth?.(owners)) ? null : owners;
}

/**
 * Seals the list with the next key. From then on, the former key cannot change it.
 *
 * @returns the rotation, with all targets in that list and with statements that are still valid; and the tokens that were cancelled
 */
async function seal(
  sealing: Omit<Beginning, 'found'> & {
    readonly rotation: OwnRotation;
    readonly onChange: RotateOptions['onChange'];
  },
): Promise<{ readonly sealed: OwnRotation; readonly cancelled: readonly string[] }> {
  const { store, shared, rotation, identity, env, assertHeld, onChange } = sealing;
  const keys = await openBoth(store, rotation, env);
  const owners = await trustDuring(rotation, identity, env);
  const trust = openTrust(store, { ...owners, signer: keys.next }, shared);
  // Callers of this machine learn the next key from this statement. The statement in the file may be days old.
  const targetId = rotation.former.deviceId;
  const succession = await signRotation({ ...keys, targetId, nowMs: Date.now() });
  let cancelled: readonly string[] = [];
  assertHeld(); // a person may have been asked since, and another command may have withdrawn the rotation
  onChange?.();
  await trust.takeOver((draft) => {
    moveOwner(draft, draft.before, succession);
    cancelled = cancelPendingTokens(draft, Math.floor(Date.now() / 1000));
  });
  const { devices } = readableDevices(await trust.read());
  const complete = await addTargets(store, rotation, keys, devices);
  return { sealed: await renewStatements(store, complete, env), cancelled };
}

/** Gives the next key to the identity, in one step. */
async function swap(store: FileStore, rotation: OwnRotation): Promise<DeviceIdentity> {
  for (;;) {
    const bytes = await store.read(IDENTITY_KEY);
    const identity = await readIdentity(store);
    if (bytes === null || identity === null) throw new NoIdentityError(store.dir);
    if (identity.deviceId !== rotation.former.deviceId) return identity;
    const next = nextIdentity(identity, rotation);
    if (await writeIdentity(store, bytes, next)) return next; // otherwise the device was renamed in the meantime
  }
}
