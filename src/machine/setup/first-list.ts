import { join } from 'node:path';
import type { Signer } from '../../core/crypto/provider';
import { fromUtf8, toUtf8 } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { parseHosts } from '../../core/wire/authority';
import { PROCESS_CODES } from '../../process/errors/codes';
import type { DocumentStore } from '../../storage/document-store';
import type { FileStore } from '../../storage/files/file-store';
import { type DeviceIdentity, readIdentity } from '../../trust/identity';
import { sharedKey } from '../../trust/list/keys';
import { ListStore } from '../../trust/list/list-store';
import { NOWHERE } from '../../trust/list/seen';
import { placeStagedList, stagedKey } from '../../trust/staged-list';

/** The file that says that an identity has no list yet, because its key was not there to seal one. */
function firstKey({ deviceId }: DeviceIdentity): string {
  return `allow_list.${deviceId}.first`;
}

/** Records the hosts of the list that {@link sealFirstList} will make. */
export async function planFirstList(
  store: FileStore,
  identity: DeviceIdentity,
  hosts: readonly string[],
): Promise<void> {
  const key = firstKey(identity);
  await store.swap(key, await store.read(key), toUtf8(`${JSON.stringify({ hosts })}\n`));
}

/**
 * The hosts that the first list of an identity will have.
 *
 * @returns null if it has a list
 * @throws AmeshError `identity_unreadable` for a damaged file
 */
export async function readFirstHosts(
  store: FileStore,
  identity: DeviceIdentity,
): Promise<readonly string[] | null> {
  const bytes = await store.read(firstKey(identity));
  if (bytes === null) return null;
  try {
    return parseHosts(JSON.parse(fromUtf8(bytes)).hosts);
  } catch (cause) {
    throw new AmeshError(
      PROCESS_CODES.identity_unreadable,
      `${join(store.dir, firstKey(identity))} is damaged.`,
      { cause },
    );
  }
}

/** Seals the empty list of an identity that has none yet. Another process may do the same at the same time. */
export async function sealFirstList(
  store: FileStore,
  shared: DocumentStore | null,
  identity: DeviceIdentity,
  signer: Signer,
): Promise<void> {
  if (store.stamp(firstKey(identity)) === 'absent') return;
  await store.locked('setup', async (assertHeld) => {
    const present = await readIdentity(store).catch(() => null);
    if (present?.deviceId !== identity.deviceId) return; // the list is that of another identity now
    const hosts = await readFirstHosts(store, identity);
    if (hosts === null) return;
    const place = shared ?? store;
    const key = shared === null ? stagedKey(identity.deviceId) : sharedKey(identity.deviceId);
    if ((await place.read(key)) === null) {
      const list = new ListStore(place, signer, identity.deviceId, { key, seen: NOWHERE });
      await list.create((draft) => draft.change({ hosts }));
    }
    assertHeld();
    await placeStagedList(store, identity);
    const bytes = await store.read(firstKey(identity));
    if (bytes !== null) await store.remove(firstKey(identity), bytes);
  });
}
