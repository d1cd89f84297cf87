import {
  type Device,
  type DeviceEntry,
  type MissingPart,
  type PagedList,
  readableDevices,
  whyEnded,
} from '@authmesh/sdk/admin/list';
import { CommandError } from '../errors/errors';
import { commandHere } from '../words/here';
import type { SeenDevice } from './filters';

/** How many missing parts a message names. */
const MAX_NAMED = 3;

/**
 * The devices in the readable part of a list, and the parts that cannot be read. The devices are in the order in which they were
 * added; a list has them in the order of their IDs.
 */
export function readDevices(list: PagedList): { devices: DeviceEntry[]; missing: readonly MissingPart[] } {
  const { devices, missing } = readableDevices(list);
  return { devices: inOrder(devices), missing };
}

/** Devices, with the times of their calls. */
export async function withSeen(
  devices: readonly DeviceEntry[],
  list: PagedList,
  { lastSeen }: Device['trust'],
): Promise<SeenDevice[]> {
  const [seen, keptSince] = await Promise.all([lastSeen.read(list), lastSeen.keptSince(list)]);
  return devices.map((device) => {
    const lastSeenAt = lastSeenOf(device, seen) ?? null;
    const since = keptSince(device.deviceId);
    const unusedSince = lastSeenAt ?? (since === null ? null : Math.max(since, device.addedAt));
    return { ...device, lastSeenAt, unusedSince };
  });
}

/**
 * When a device was last seen with any of its keys.
 *
 * @param seen Unix seconds by the ID of a key
 */
export function lastSeenOf(
  { deviceId, was = [], pending }: DeviceEntry,
  seen: ReadonlyMap<string, number>,
): number | undefined {
  if (pending) return undefined; // this key may not call yet: the key that it will replace has called
  const times = [...was, deviceId].flatMap((id) => seen.get(id) ?? []);
  return times.length === 0 ? undefined : Math.max(...times);
}

/** What a command did not do with the devices that it could not read. */
type Omitted = 'shown' | 'counted' | 'revoked';

/**
 * The error of a command that could only do a part of its work; undefined if it could do everything.
 */
export function missingError(missing: readonly MissingPart[], omitted: Omitted = 'shown') {
  const [first] = missing;
  if (first === undefined) return undefined;
  const { code, detail, fix, command } = first.error;
  const names = missing.slice(0, MAX_NAMED).map(({ name }) => name);
  const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
  const parts = missing.length === 1 ? 'A part' : `${missing.length} parts`;
  return {
    code,
    message: `${parts} of the list cannot be read (${names.join(', ')}${more}), so its devices are not ${omitted}. ${detail}`,
    hint: `${command === undefined ? fix : commandHere(command)}${omitted !== 'revoked' ? '' : ' Until then, servers refuse these devices. After that, repeat the command.'}`,
  };
}

/**
 * For a command that needs the whole list.
 *
 * @throws CommandError
 */
export function assertWhole(list: PagedList, otherwise = ''): void {
  const error = missingError(readableDevices(list).missing);
  if (error !== undefined) throw new CommandError(error.code, error.message, `${error.hint}${otherwise}`);
}

/** The same error as notes, line by line. */
export function missingNotes(missing: readonly MissingPart[], omitted?: Omitted): string[] {
  const error = missingError(missing, omitted);
  return error === undefined ? [] : [`✗ ${error.message}`, `  ${error.hint}`];
}

/** How many devices in the readable part of a list have a role. */
export function countRole(list: PagedList, role: 'controller' | 'target'): number {
  return readableDevices(list).devices.filter(({ roles }) => roles.includes(role)).length;
}

/** How many devices in the readable part of a list may call now: neither the trust in them nor their lease has ended. */
export function countCallers(list: PagedList): number {
  const nowMs = Date.now();
  return readableDevices(list).devices.filter(
    (device) => device.roles.includes('controller') && whyEnded(device, list.head, nowMs) === null,
  ).length;
}

/** How many devices the readable part of a list has. */
export function countDevices(list: PagedList): number {
  return readableDevices(list).devices.length;
}

function inOrder(devices: DeviceEntry[]): DeviceEntry[] {
  return devices.sort((a, b) => a.addedAt - b.addedAt || compare(a, b));
}

function compare({ friendlyName: a }: DeviceEntry, { friendlyName: b }: DeviceEntry): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
