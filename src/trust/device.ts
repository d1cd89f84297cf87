import { type AllowList, createAllowList } from '../core/allow-list';
import type { Signer } from '../core/crypto/provider';
import { AllowListIntegrityError, NoIdentityError } from '../core/errors';
import { findBackend } from '../keys/backends';
import { FileStore } from './file-store';
import type { Env } from './home';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity } from './identity';
import { ALLOW_LIST_KEY, TrustStore } from './trust-store';

/** This machine as amesh knows it: its identity, its opened key and its allow list. */
export interface Device {
  readonly identity: DeviceIdentity;
  readonly signer: Signer;
  readonly trust: TrustStore;
  readonly store: FileStore;
}

/**
 * Opens the device of a folder: reads its identity and unlocks its key, which is the slow part, once.
 *
 * @throws NoIdentityError where there is none; AmeshError of the key backend; AllowListIntegrityError where the key
 *   is not the one that identity.json names
 */
export async function openDevice(dir: string, env: Env): Promise<Device> {
  const store = new FileStore(dir);
  const identity = await readIdentity(store);
  if (identity === null) throw new NoIdentityError(dir);
  const signer = await findBackend(identity.key.backend).open(identity.key.ref, { dir, env });
  assertSameKey(identity, signer);
  return { identity, signer, trust: new TrustStore(store, signer, identity.deviceId), store };
}

/** What has to change before {@link readAllowList} could say something else. */
export function trustStamp(store: FileStore): string {
  return `${store.stamp(ALLOW_LIST_KEY)} ${store.stamp(IDENTITY_KEY)}`;
}

/**
 * The allow list of an opened device.
 *
 * @throws AllowListIntegrityError also where identity.json is another one by now
 */
export async function readAllowList(device: Device): Promise<AllowList> {
  const identity = await readIdentity(device.store);
  if (identity === null) throw new NoIdentityError(device.store.dir);
  assertSameKey(identity, device.signer);
  const { hosts, devices } = await device.trust.read();
  return createAllowList({ deviceId: identity.deviceId, hosts, devices });
}

function assertSameKey(identity: DeviceIdentity, signer: Signer): void {
  if (identity.publicKey === Buffer.from(signer.publicKey).toString('base64url')) return;
  throw new AllowListIntegrityError(
    'identity.json names another key than the one this machine has opened.',
    'Put the right identity.json back, or restart this process where the identity was replaced on purpose.',
  );
}
