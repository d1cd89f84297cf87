import type { ListDraft } from '../format/draft';
import { COMEBACK_SECONDS } from '../format/ended';
import { type DeviceEntry, isNextOf } from '../format/entry';

/**
 * The ID that a device has now, if its key was rotated. It reads the whole list if the next entry is gone, and a former one is
 * still there.
 *
 * @param id any ID of the device for which the list still has an entry
 * @returns the same ID if the list does not have it, or if nothing has replaced it
 */
export async function currentOf(draft: ListDraft, id: string): Promise<string> {
  const seen = new Set<string>();
  let entry = await draft.device(id);
  let current = id;
  while (entry?.retiresAt !== undefined && !seen.has(entry.deviceId)) {
    seen.add(entry.deviceId);
    entry = await nextOf(draft, entry);
    current = entry?.deviceId ?? current;
  }
  return current;
}

/**
 * All IDs of a device: those that it had before its key was rotated, its present one, and those of its successors, even of a
 * pending one. It reads the whole list if that has no entry for the ID.
 *
 * @returns none if the list does not have the device
 */
export async function chainOf(draft: ListDraft, id: string): Promise<string[]> {
  const isThere = (await draft.find(id)) !== undefined; // perhaps as a tombstone
  let entry = isThere ? await draft.device(id) : await successorOf(draft, id);
  const seen = new Set<string>();
  const ids = new Set<string>();
  while (entry !== undefined && !seen.has(entry.deviceId)) {
    seen.add(entry.deviceId);
    for (const each of [...(entry.was ?? []), entry.deviceId]) ids.add(each);
    entry = await nextOf(draft, entry);
  }
  return [...ids];
}

/**
 * The IDs of the keys that have followed that of a device, in their order, even of a pending one. The key itself is not among them,
 * not even in a circle.
 */
export async function followersOf(draft: ListDraft, former: DeviceEntry): Promise<string[]> {
  const ids = new Set<string>();
  let entry = await nextEntryOf(draft, former);
  while (entry !== undefined && entry.deviceId !== former.deviceId && !ids.has(entry.deviceId)) {
    ids.add(entry.deviceId);
    entry = await nextEntryOf(draft, entry);
  }
  return [...ids];
}

/**
 * The entry that follows another one. The entries of former keys leave the list page by page, so the next entry may be gone first.
 */
async function nextOf(draft: ListDraft, entry: DeviceEntry): Promise<DeviceEntry | undefined> {
  const found = await nextEntryOf(draft, entry);
  return found === undefined && entry.retiresAt !== undefined ? successorOf(draft, entry.deviceId) : found;
}

/** The entry of the next key of a device; undefined if it has none. */
export async function nextEntryOf(draft: ListDraft, entry: DeviceEntry): Promise<DeviceEntry | undefined> {
  const found = await draft.device(entry.next ?? '');
  return isNextOf(entry, found) ? found : undefined;
}

/** The device that once had this ID. It reads the whole list. */
async function successorOf(draft: ListDraft, id: string): Promise<DeviceEntry | undefined> {
  let pending: DeviceEntry | undefined;
  for await (const device of draft.devices()) {
    if (!device.was?.includes(id)) continue;
    if (!device.pending) return device;
    pending = device;
  }
  return pending;
}

/** Replaces the entries of devices with tombstones. IDs whose entry has left the list get one, too. */
export async function buryAll(draft: ListDraft, ids: readonly string[], nowSeconds: number): Promise<void> {
  for (const deviceId of ids)
    if ((await draft.tombstone(deviceId)) === undefined)
      await draft.bury({ deviceId, revokedAt: nowSeconds, until: nowSeconds + COMEBACK_SECONDS });
}
