import type { Signer } from '../core/crypto/provider';
import { AllowListIntegrityError, AmeshError } from '../core/errors/amesh-error';
import type { DocumentStore } from '../storage/document-store';
import type { FileStore } from '../storage/files/file-store';
import { TRUST_CODES } from './errors/codes';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity } from './identity';
import { SEEN_KEY } from './list/seen';
import { ALLOW_LIST_KEY, type Owner, TrustStore } from './list/trust-store';
import { sharedKey } from './shared-store';

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
 * The list of a target: in a store that instances share, or in the folder. The revisions that were seen are always
 * remembered in the folder, where a client of the store cannot change them.
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
    fix: 'Check AMESH_STORE_URL, and AMESH_OWNER_KEY where it is set. If the list was lost there, put the right one back, or start anew with',
    command: ['amesh', 'trust', 'reset'],
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
      TRUST_CODES.no_identity,
      `The identity is gone from ${store.dir}, where this process has found it before.`,
      {
        fix: 'Put the folder back, or mount it again. Do not run amesh init: it makes another identity, which nobody trusts.',
      },
    );
  }
  assertSameKey(identity, signer);
}

/** @throws AllowListIntegrityError where the opened key is not the one that identity.json names */
export function assertSameKey(identity: DeviceIdentity, signer: Signer): void {
  if (identity.publicKey === Buffer.from(signer.publicKey).toString('base64url')) return;
  throw anotherIdentity('identity.json names another key than the one this machine has opened.');
}

export function anotherIdentity(detail: string): AllowListIntegrityError {
  return new AllowListIntegrityError(detail, {
    fix: 'Put the right identity.json back. If it was replaced on purpose, restart this process, and start an empty list where need be',
    command: ['amesh', 'trust', 'reset'],
  });
}
