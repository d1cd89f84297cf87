import { randomBytes } from 'node:crypto';
import type { DeviceEntry, ListHead, ListStore, PagedList, Tombstone } from '@authmesh/sdk/admin';
import { emptyHead as emptyHeadOf } from '../../src/trust/format/head';

/** The content of a list in one object. */
export interface ListDocument extends ListHead {
  /** Sorted by the second when they were added, then by name. */
  readonly devices: readonly DeviceEntry[];
  /** Sorted by ID. */
  readonly tombstones: readonly Tombstone[];
}

/** Reads the whole list of a machine. */
export async function documentOf(trust: ListStore): Promise<ListDocument> {
  return toDocument(await trust.read());
}

/** Replaces each device of a list. */
export async function changeDevices(
  trust: ListStore,
  change: (device: DeviceEntry) => DeviceEntry,
): Promise<void> {
  await trust.update(async (draft) => {
    for await (const device of draft.devices()) await draft.put(change(device));
  });
}

/** The head of an empty list, before its first revision. */
export function emptyHead(more: Partial<ListHead> = {}): ListHead {
  return { ...emptyHeadOf('am_OOOOOOOOOOOOOOOO'), owner: `Ag${'o'.repeat(42)}`, ...more };
}

/** Adds controllers with invented keys. */
export async function withDevices(trust: ListStore, ids: readonly string[]): Promise<PagedList> {
  await trust.update(async (draft) => {
    for (const deviceId of ids) await draft.put(newDevice(deviceId));
  });
  return trust.read();
}

/** A controller with an invented key: an entry needs no real one. */
export function newDevice(deviceId = randomId(), friendlyName = deviceId): DeviceEntry {
  const publicKey = Buffer.concat([Uint8Array.of(2), randomBytes(32)]).toString('base64url');
  return { deviceId, publicKey, friendlyName, roles: ['controller'], hosts: [], addedAt: 0 };
}

export function randomId(): string {
  return `am_${randomBytes(12).toString('base64url')}`;
}

export function toDocument(list: PagedList): ListDocument {
  const devices = [...list.devices()].sort(
    (a, b) => a.addedAt - b.addedAt || (a.friendlyName < b.friendlyName ? -1 : 1),
  );
  const tombstones = [...list.lines()]
    .map(({ line }) => JSON.parse(line))
    .filter((entry) => 'revokedAt' in entry)
    .map(({ id: deviceId, revokedAt, until }) => ({ deviceId, revokedAt, until }))
    .sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1));
  return { ...list.head, devices, tombstones };
}
