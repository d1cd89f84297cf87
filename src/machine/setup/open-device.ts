import type { Signer } from '../../core/crypto/provider';
import { toBase64Url } from '../../core/encoding';
import { findBackend } from '../../keys/backends';
import { assertSigner, external, externalSigner } from '../../keys/external';
import type { Env } from '../../process/home';
import type { DocumentStore } from '../../storage/document-store';
import { FileStore } from '../../storage/files/file-store';
import { anotherIdentity, assertSameKey, type Device, openTrust } from '../../trust/device';
import { NoIdentityError } from '../../trust/errors/no-identity';
import { assertFolder } from '../../trust/folder-safety';
import { claimedOwner } from '../../trust/format/head';
import { type DeviceIdentity, readIdentity } from '../../trust/identity';
import { ALLOW_LIST_KEY } from '../../trust/list/keys';
import { sharedStoreOf } from '../../trust/shared-store';
import { placeStagedList } from '../../trust/staged-list';
import { ownTrust } from '../rotation/own-trust';
import type { OwnRotation } from '../rotation/rotation-file';
import { readFirstHosts, sealFirstList } from './first-list';
import { sharedAnswerKey, withSharedWorkingKey } from './shared-keys';

/**
 * Opens the device of a folder: reads its identity and unlocks its key once, which is slow.
 *
 * The device has its own list, unless AMESH_OWNER_KEY names its key: then it has the list of the first key there.
 *
 * @param shared where the list is stored; default the store in AMESH_STORE_URL, or the folder
 * @param signer signs with a key outside amesh; default: the key that `identity.json` names
 * @throws NoIdentityError if there is none; AmeshError of the key backend, and `folder_unsafe` if another user could
 *   replace the folder; AllowListIntegrityError if the key is not the one that identity.json names
 */
export async function openDevice(
  dir: string,
  env: Env,
  shared: DocumentStore | null = sharedStoreOf(env),
  signer?: Signer,
): Promise<Device> {
  if (signer !== undefined) assertSigner(signer);
  assertFolder(dir, env, 'read');
  const store = new FileStore(dir);
  const identity = await readIdentity(store);
  if (identity === null) throw noIdentity(dir, env, signer);
  const trust = await ownTrust(store, identity, env);
  await placeStagedList(store, identity);
  const own = signer === undefined ? await openKey(identity, store, env) : ownSigner(signer);
  assertSameKey(identity, own);
  if (signer !== undefined) await sealFirstList(store, shared, identity, own);
  const isSealed = identity.key.backend !== external.id || (await readFirstHosts(store, identity)) === null;
  const absent = isSealed ? undefined : NOT_SEALED;
  const opened = openTrust(store, { ...trust, signer: own }, shared, absent);
  return { identity, signer: own, answers: answersOf(identity, own), trust: opened, store };
}

/**
 * The device of a folder with the key that is being replaced, for a process that cannot open the next key. It can read its list,
 * but can no longer change it.
 *
 * @throws as {@link openDevice}
 */
export async function openFormer(
  store: FileStore,
  { former }: OwnRotation,
  env: Env,
  shared: DocumentStore | null,
): Promise<Device> {
  const signer = await openKey(former, store, env);
  assertSameKey(former, signer);
  const trust = openTrust(store, { ...(await ownTrust(store, former, env)), signer }, shared);
  return { identity: former, signer, answers: answersOf(former, signer), trust, store };
}

/**
 * The same device, with its identity and its list as the folder has them now. If the key of the folder was rotated, and cannot be
 * opened, the device can still read.
 *
 * @throws AmeshError like {@link openDevice}, but none of a key backend
 */
export async function reopenTrust(device: Device, env: Env, shared: DocumentStore | null): Promise<Device> {
  const { store, signer } = device;
  const identity = await readIdentity(store);
  if (identity === null) throw new NoIdentityError(store.dir);
  const trust = openTrust(store, { ...(await ownTrust(store, identity, env)), signer }, shared);
  trust.continueFrom(device.trust);
  const isSame = identity.publicKey === device.identity.publicKey;
  return { ...device, ...(isSame && { identity }), trust };
}

/** The device key signs answers, unless it is slow; a slow device key does not sign requests either. */
function answersOf({ deviceId }: DeviceIdentity, signer: Signer): Device['answers'] {
  if (signer.requestSigner !== undefined) return sharedAnswerKey(signer);
  const own = { deviceId, sign: (message: Uint8Array) => signer.sign(message) };
  return () => own;
}

const NOT_SEALED = {
  detail: 'This identity has no allow list yet, since its key was not there to seal one.',
  fix: 'Start the program that has the key: createAmesh({ signer }) seals an empty list. See docs/keys.md.',
};

/**
 * A working key signs the requests, unless the program has made one itself: a service in the network is slow, and counts
 * signatures.
 */
function ownSigner(signer: Signer): Signer {
  const checked = externalSigner(signer);
  return checked.requestSigner === undefined ? withSharedWorkingKey(checked) : checked;
}

/** The fix that makes an identity for the key of a signer. */
function noIdentity(dir: string, env: Env, signer: Signer | undefined): NoIdentityError {
  const command = ['amesh', 'init', '--name', 'NAME'];
  if (signer !== undefined) {
    const key = ['--public-key', toBase64Url(signer.publicKey)];
    return new NoIdentityError(dir, { fix: 'Run', command: [...command, ...key] });
  }
  if (!isTokenEmpty(env)) return new NoIdentityError(dir);
  const where = `${dir}, and AMESH_BOOTSTRAP_TOKEN is empty`;
  return new NoIdentityError(where, { fix: 'Set it to the whole token, or run', command });
}

/** Whether the environment has a token without a text, as a CI job has whose secret is missing. */
export function isTokenEmpty({ AMESH_BOOTSTRAP_TOKEN }: Env): boolean {
  return AMESH_BOOTSTRAP_TOKEN?.trim() === '';
}

/**
 * Opens the key that an identity names, for requests as well.
 *
 * @throws AmeshError of the key backend; AllowListIntegrityError if the list in the folder belongs to another device
 */
export async function openKey(
  identity: Pick<DeviceIdentity, 'key' | 'publicKey'>,
  store: FileStore,
  env: Env,
): Promise<Signer> {
  const { ref } = identity.key;
  try {
    const backend = findBackend(identity.key.backend);
    const signer = await backend.open(ref, { dir: store.dir, env });
    return backend.isOutsideProcess ? withSharedWorkingKey(signer) : signer;
  } catch (error) {
    // The error of the key explains little. If the list belongs to another device, that is the cause.
    const owner = claimedOwner(await store.read(ALLOW_LIST_KEY));
    if (owner === null || owner === identity.publicKey) throw error;
    throw anotherIdentity('identity.json belongs to another device than the allow list next to it.');
  }
}
