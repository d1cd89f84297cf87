import { type AllowList, createAllowList, type TrustedDevice } from '../core/allow-list';
import type { Signer } from '../core/crypto/provider';
import { AllowListIntegrityError, NoIdentityError } from '../core/errors';
import { findBackend } from '../keys/backends';
import { claimedOwner, type DeviceEntry } from './document';
import { FileStore } from './file-store';
import type { Env } from './home';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity } from './identity';
import { SEEN_KEY } from './seen';
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
  const signer = await openKey(identity, store, env);
  assertSameKey(identity, signer);
  return { identity, signer, trust: new TrustStore(store, signer, identity.deviceId), store };
}

/** What has to change before {@link readAllowList} could say something else. */
export function trustStamp(store: FileStore): string {
  return [ALLOW_LIST_KEY, IDENTITY_KEY, SEEN_KEY].map((key) => store.stamp(key)).join(' ');
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
  return createAllowList({ deviceId: identity.deviceId, hosts, devices: devices.map(withEnd) });
}

function withEnd(entry: DeviceEntry): TrustedDevice {
  return entry.lease === undefined ? entry : { ...entry, expiresAt: entry.lease.expiresAt };
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
