import { cryptoProvider } from '#crypto';
import type { AnswerSigner } from '../core/answers/sign-answer';
import type { MaybePromise, Signer } from '../core/crypto/provider';
import { equalBytes, fromBase64Url } from '../core/encoding';
import { AllowListIntegrityError, AmeshError } from '../core/errors/amesh-error';
import { leadsTo } from '../core/rotation/chain';
import type { DocumentStore } from '../storage/document-store';
import type { FileStore } from '../storage/files/file-store';
import { TRUST_CODES } from './errors/codes';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity } from './identity';
import { ALLOW_LIST_KEY, sharedKey } from './list/keys';
import type { ListPlace, Owners } from './list/list-place';
import type { ListTrust } from './list/list-reader';
import { ListStore } from './list/list-store';
import { SEEN_KEY } from './list/seen';

/** This machine: its identity, opened private key and allow list. */
export interface Device {
  /** Its public identity. */
  readonly identity: DeviceIdentity;
  /** Its opened private key. */
  readonly signer: Signer;
  /** Supplies the key that signs answers for callers that ask for that: its own key, or an answer key if its own is slow. */
  readonly answers: () => MaybePromise<AnswerSigner>;
  /** Its allow list. */
  readonly trust: ListStore;
  /** Its folder. */
  readonly store: FileStore;
}

/**
 * Opens the list of a target, in a shared store or in the folder. The newest revision seen is always recorded in the
 * folder, where clients of the store cannot change it.
 *
 * @param absent the error if there is no list
 */
export function openTrust(
  folder: DocumentStore,
  { list, signer, ...owners }: ListTrust & Pick<Owners, 'signer'>,
  shared: DocumentStore | null,
  absent?: ListPlace['absent'],
): ListStore {
  const owner = { ...owners, signer };
  if (shared === null) return new ListStore(folder, owner, list, { absent });
  const absentThere = absent ?? {
    detail: `The store has no allow list for ${list}.`,
    fix: 'Check AMESH_STORE_URL, and AMESH_OWNER_KEY if it is set. If the list is lost, restore it, or start an empty one with',
    command: ['amesh', 'trust', 'reset'],
  };
  return new ListStore(shared, owner, list, { key: sharedKey(list), seen: folder, absent: absentThere });
}

/** A stamp that changes whenever the list of a folder may have changed. */
export function trustStamp(store: FileStore): string {
  return [ALLOW_LIST_KEY, IDENTITY_KEY, SEEN_KEY].map((key) => store.stamp(key)).join(' ');
}

/**
 * Checks that the folder still has the identity that was opened; its key may have been rotated since.
 *
 * @throws AmeshError `no_identity` if identity.json is gone; AllowListIntegrityError if it names another device now
 */
export async function assertSameIdentity({ store, signer }: Pick<Device, 'store' | 'signer'>): Promise<void> {
  const identity = await readIdentity(store);
  if (identity === null) {
    throw new AmeshError(
      TRUST_CODES.no_identity,
      `The identity that this process used is gone from ${store.dir}.`,
      {
        fix: 'Restore the folder, or mount it again. Do not run amesh init: it creates a new identity, which no machine trusts.',
      },
    );
  }
  if (!(await isRotated(identity, signer))) assertSameKey(identity, signer);
}

/** Whether the key of an identity has replaced the one that was opened. */
export async function isRotated(
  { publicKey, rotations = [] }: DeviceIdentity,
  { publicKey: opened }: Pick<Signer, 'publicKey'>,
): Promise<boolean> {
  const present = fromBase64Url(publicKey);
  return (
    rotations.length > 0 &&
    present !== null &&
    !equalBytes(present, opened) &&
    leadsTo(opened, present, rotations, cryptoProvider)
  );
}

/** @throws AllowListIntegrityError if the opened key is not the one that identity.json names */
export function assertSameKey(identity: DeviceIdentity, signer: Signer): void {
  if (identity.publicKey === Buffer.from(signer.publicKey).toString('base64url')) return;
  throw anotherIdentity('identity.json names another key than the one that this machine opened.');
}

export function anotherIdentity(detail: string): AllowListIntegrityError {
  return new AllowListIntegrityError(detail, {
    fix: 'Restore the right identity.json. If you replaced it on purpose, restart this process. If the list does not fit either, start an empty one with',
    command: ['amesh', 'trust', 'reset'],
  });
}
