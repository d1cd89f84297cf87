import {
  type Device,
  type DeviceEntry,
  type MissingPart,
  type PagedList,
  readableDevices,
} from '@authmesh/sdk/admin';
import { commandHere } from '../words/here';
import type { SeenDevice } from './filters';

/** How many missing parts a message names. */
const MAX_NAMED = 3;

/** The devices of a list in the order in which they were added: a list has them in the order of their IDs. */
export function devicesOf(list: PagedList): DeviceEntry[] {
  return inOrder([...list.devices()]);
}

/** The same, as far as the list can be read, and the parts that cannot. */
export function readDevices(list: PagedList): { devices: DeviceEntry[]; missing: readonly MissingPart[] } {
  const { devices, missing } = readableDevices(list);
  return { devices: inOrder(devices), missing };
}

/** Devices with what is known of their use. */
export async function withSeen(
  devices: readonly DeviceEntry[],
  list: PagedList,
  { lastSeen }: Device['trust'],
): Promise<SeenDevice[]> {
  const [seen, keptSince] = await Promise.all([lastSeen.read(list), lastSeen.keptSince(list)]);
  return devices.map((device) => {
    const lastSeenAt = seen.get(device.deviceId) ?? null;
    const since = keptSince(device.deviceId);
    const unusedSince = lastSeenAt ?? (since === null ? null : Math.max(since, device.addedAt));
    return { ...device, lastSeenAt, unusedSince };
  });
}

/** The error of a command that could show only a part of the list; undefined if it could show all. */
export function missingError(missing: readonly MissingPart[]) {
  const [first] = missing;
  if (first === undefined) return undefined;
  const { code, detail, fix, command } = first.error;
  const names = missing.slice(0, MAX_NAMED).map(({ name }) => name);
  const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
  const parts = missing.length === 1 ? 'A part' : `${missing.length} parts`;
  return {
    code,
    message: `${parts} of the list cannot be read (${names.join(', ')}${more}), so its devices are not shown. ${detail}`,
    hint: command === undefined ? fix : commandHere(command),
  };
}

/** The same as notes, line by line. */
export function missingNotes(missing: readonly MissingPart[]): string[] {
  const error = missingError(missing);
  return error === undefined ? [] : [`✗ ${error.message}`, `  ${error.hint}`];
}

/** How many devices have a role. */
export function countRole(list: PagedList, role: 'controller' | 'target'): number {
  let count = 0;
  for (const { roles } of list.devices()) if (roles.includes(role)) count++;
  return count;
}

/** How many devices a list has. */
export function countDevices(list: PagedList): number {
  let count = 0;
  for (const _ of list.devices()) count++;
  return count;
}

function inOrder(devices: DeviceEntry[]): DeviceEntry[] {
  return devices.sort((a, b) => a.addedAt - b.addedAt || compare(a, b));
}

function compare({ friendlyName: a }: DeviceEntry, { friendlyName: b }: DeviceEntry): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
