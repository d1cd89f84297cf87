import type { Env } from '../../process/home';
import type { DocumentStore } from '../../storage/document-store';
import type { FileStore } from '../../storage/files/file-store';
import { openTrust } from '../../trust/device';
import type { PagedList } from '../../trust/format/paged-list';
import { ALLOW_LIST_KEY } from '../../trust/list/keys';
import type { ListTrust } from '../../trust/list/list-reader';
import { readableDevices } from '../../trust/list/readable';
import { SeenRevisions } from '../../trust/list/seen';
import type { Seen } from '../../trust/list/seen-in-memory';
import { sharedStoreOf } from '../../trust/shared-store';
import { readPlacedList } from '../../trust/staged-list';

/** A stored list, and what this machine remembers about it. */
export interface Inspected {
  /** The list, sealed by its owner. */
  readonly list: PagedList;
  /** The newest head that this machine has seen; null if there is none yet. */
  readonly seen: Seen | null;
  /** When a device in it last made an accepted request, in Unix seconds; null if unknown. */
  readonly lastSeenAt: number | null;
}

/**
 * Opens the allow list of a folder, or of the store in AMESH_STORE_URL. It writes nothing, not even the record of the newest
 * revision.
 *
 * @param trust the keys that may have sealed it, and the device that it belongs to
 * @throws AmeshError `allow_list_integrity_failure`, `allow_list_unavailable`
 */
export async function inspectTrust(folder: FileStore, trust: ListTrust, env: Env): Promise<Inspected> {
  const { owners, list: deviceId } = trust;
  const named = { deviceId, publicKey: Buffer.from(owners[0] as Uint8Array).toString('base64url') };
  const asItWillLie = (key: string, atMost?: number) =>
    key === ALLOW_LIST_KEY
      ? readPlacedList((name) => folder.read(name, atMost), named)
      : folder.read(key, atMost);
  const kept = { ...readOnly(folder), read: asItWillLie };
  const seen = await new SeenRevisions(kept).read(deviceId);
  const shared = sharedStoreOf(env);
  const store = openTrust(kept, trust, shared === null ? null : readOnly(shared));
  const list = await store.read();
  const times = await store.lastSeen.read(list);
  const known = readableDevices(list).devices.flatMap(({ deviceId }) => times.get(deviceId) ?? []);
  const lastSeenAt = known.length === 0 ? null : known.reduce((a, b) => Math.max(a, b));
  return { list, seen, lastSeenAt };
}

function readOnly(store: DocumentStore): DocumentStore {
  return {
    read: (key, atMost) => store.read(key, atMost),
    readPages: (key, names, atMost) => store.readPages(key, names, atMost),
    swap: async () => false,
    isEventual: store.isEventual,
  };
}
