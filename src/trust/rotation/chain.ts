import { COMEBACK_SECONDS, type ListDraft } from '../format/draft';
import { type DeviceEntry, MAX_FORMER_IDS } from '../format/entry';

/**
 * The ID under which a device stands in the list now, if its key was rotated.
 *
 * @param id any ID of the device, as long as the list has an entry of that ID
 * @returns the same ID if the list does not have it, or if nothing has replaced it
 */
export async function currentOf(draft: ListDraft, id: string): Promise<string> {
  let current = id;
  for (let hops = 0; hops <= MAX_FORMER_IDS; hops++) {
    const entry = await draft.device(current);
    if (entry?.retiresAt === undefined || entry.next === undefined) break;
    if ((await draft.device(entry.next)) === undefined) break;
    current = entry.next;
  }
  return current;
}

/**
 * All IDs of a device: those that it had before its key was rotated, the one that it has, and those of its successors, also of
 * one that is pending. It reads the whole list if the list has no entry of that ID.
 *
 * @returns none if the list does not have the device
 */
export async function chainOf(draft: ListDraft, id: string): Promise<string[]> {
  let entry = (await draft.device(id)) ?? (await successorOf(draft, id));
  const ids = new Set<string>();
  while (entry !== undefined && !ids.has(entry.deviceId)) {
    for (const each of [...(entry.was ?? []), entry.deviceId]) ids.add(each);
    entry = entry.next === undefined ? undefined : await draft.device(entry.next);
  }
  return [...ids];
}

/** The device that once had this ID, and whose former entry has left the list. It reads the whole list. */
async function successorOf(draft: ListDraft, id: string): Promise<DeviceEntry | undefined> {
  if ((await draft.find(id)) !== undefined) return undefined; // it was revoked
  for await (const device of draft.devices()) if (device.was?.includes(id)) return device;
  return undefined;
}

/** Replaces the entries of devices with tombstones, also where a former entry has left the list. */
export async function buryAll(draft: ListDraft, ids: readonly string[], nowSeconds: number): Promise<void> {
  for (const deviceId of ids)
    if ((await draft.tombstone(deviceId)) === undefined)
      await draft.bury({ deviceId, revokedAt: nowSeconds, until: nowSeconds + COMEBACK_SECONDS });
}
