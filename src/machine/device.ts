import type { Signer } from '../core/crypto/provider';
import { AllowListIntegrityError, AmeshError, NoIdentityError } from '../core/errors/amesh-error';
import { findBackend } from '../keys/backends';
import type { Env } from '../process/home';
import type { DocumentStore } from '../storage/document-store';
import { FileStore } from '../storage/files/file-store';
import { assertFolder } from '../trust/folder-safety';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity } from '../trust/identity';
import { claimedOwner } from '../trust/list/seal';
import { SEEN_KEY } from '../trust/list/seen';
import { placeStagedList } from '../trust/list/staged-list';
import { ALLOW_LIST_KEY, type Owner, TrustStore } from '../trust/list/trust-store';
import { sharedKey, sharedStoreOf } from '../trust/shared-store';

/** This machine as amesh knows it: its identity, its opened key and its allow list. */
export interface Device {
  /** Its public facts. */
  readonly identity: DeviceIdentity;
  /** Its private key, opened. */
  readonly signer: Signer;
  /** Its allow list. */
  readonly trust: TrustStore;
  /** Its folder. */
  readonly store: FileStore;
}

/**
 * Opens the device of a folder: reads its identity and unlocks its key, which is the slow part, once.
 *
 * @param shared where the list lies; default the store of AMESH_STORE_URL, or the folder
 * @throws NoIdentityError where there is none; AmeshError of the key backend, and `folder_unsafe` where another user
 *   could replace it; AllowListIntegrityError where the key
 *   is not the one that identity.json names
 */
export async function openDevice(
  dir: string,
  env: Env,
  shared: DocumentStore | null = sharedStoreOf(env),
): Promise<Device> {
  assertFolder(dir, env, 'read');
  const store = new FileStore(dir);
  const identity = await readIdentity(store);
  if (identity === null) throw new NoIdentityError(dir);
  await placeStagedList(store, identity);
  const signer = await openKey(identity, store, env);
  assertSameKey(identity, signer);
  return { identity, signer, trust: openTrust(store, signer, identity.deviceId, shared), store };
}

/**
 * The list of a target: in a store that instances share, or in the folder. What was seen of it is remembered in the
 * folder in any case, out of reach of whoever has the store.
 */
export function openTrust(
  folder: DocumentStore,
  owner: Owner,
  list: string,
  shared: DocumentStore | null,
): TrustStore {
  if (shared === null) return new TrustStore(folder, owner, list);
  const absent = {
    detail: `The store holds no allow list of ${list}.`,
    fix: 'Check AMESH_STORE_URL, and AMESH_OWNER_KEY where it is set. If the list was lost there, put the right one back, or start anew with: amesh trust reset',
  };
  return new TrustStore(shared, owner, list, { key: sharedKey(list), seen: folder, absent });
}

/** What has to change before the list of a folder could be another one. */
export function trustStamp(store: FileStore): string {
  return [ALLOW_LIST_KEY, IDENTITY_KEY, SEEN_KEY].map((key) => store.stamp(key)).join(' ');
}

/** @throws AllowListIntegrityError where identity.json is another one by now */
export async function assertSameIdentity({ store, signer }: Device): Promise<void> {
  const identity = await readIdentity(store);
  if (identity === null) {
    throw new AmeshError(
      'no_identity',
      `The identity is gone from ${store.dir}, where this process has found it before.`,
      {
        fix: 'Put the folder back, or mount it again. Do not run amesh init: it makes another identity, which nobody trusts.',
      },
    );
  }
  assertSameKey(identity, signer);
}

async function openKey(identity: DeviceIdentity, store: FileStore, env: Env): Promise<Signer> {
  const { backend, ref } = identity.key;
  try {
    return await findBackend(backend).open(ref, { dir: store.dir, env });
  } catch (error) {
    // A key that does not open says little; an identity beside the list of another says why.
    const owner = claimedOwner(await store.read(ALLOW_LIST_KEY));
    if (owner === null || owner === identity.publicKey) throw error;
    throw anotherIdentity('identity.json is of another device than the allow list beside it.');
  }
}

function assertSameKey(identity: DeviceIdentity, signer: Signer): void {
  if (identity.publicKey === Buffer.from(signer.publicKey).toString('base64url')) return;
  throw anotherIdentity('identity.json names another key than the one this machine has opened.');
}

function anotherIdentity(detail: string): AllowListIntegrityError {
  return new AllowListIntegrityError(
    detail,
    'Put the right identity.json back. If it was replaced on purpose, restart this process, and start an empty list where need be: amesh trust reset',
  );
}
