import type { FileStore } from '../storage/files/file-store';
import { claimedOwner } from './format/head';
import type { DeviceIdentity } from './identity';
import { ALLOW_LIST_KEY } from './list/keys';

type Named = Pick<DeviceIdentity, 'deviceId' | 'publicKey'>;

/**
 * The file that holds the list of a new identity until that identity is complete. Two files cannot be replaced in one
 * step, so `identity.json` decides: once it is replaced this is the list, even if the command was interrupted.
 */
export function stagedKey(deviceId: string): string {
  return `allow_list.${deviceId}.new`;
}

const STAGED = /^allow_list\.am_[A-Za-z0-9_-]{16}\.new$/;

export function isStaged(name: string): boolean {
  return STAGED.test(name);
}

/** Moves this identity's list into place, if the command that created both was interrupted before that. */
export async function placeStagedList(store: FileStore, identity: Named): Promise<void> {
  const key = stagedKey(identity.deviceId);
  for (;;) {
    const staged = await store.read(key);
    if (staged === null) return;
    const there = await store.read(ALLOW_LIST_KEY);
    if (!isPlaced(there, identity) && !(await store.swap(ALLOW_LIST_KEY, there, staged))) continue;
    await store.remove(key, staged).catch(() => {}); // if this fails, the file has no effect any more
    return;
  }
}

/** Reads the list that {@link placeStagedList} would place, without writing; null if there is none. */
export async function readPlacedList(
  read: (key: string) => Promise<Uint8Array | null>,
  identity: Named,
): Promise<Uint8Array | null> {
  const there = await read(ALLOW_LIST_KEY);
  return isPlaced(there, identity) ? there : ((await read(stagedKey(identity.deviceId))) ?? there);
}

function isPlaced(bytes: Uint8Array | null, { publicKey }: Named): boolean {
  return claimedOwner(bytes) === publicKey;
}
