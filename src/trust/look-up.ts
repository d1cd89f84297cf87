import { AmeshError } from '../core/errors/amesh-error';
import { isDeviceId } from '../core/wire/credentials';
import { findDevice, isCurrent } from './changes';
import { TRUST_CODES } from './errors/codes';
import type { DeviceEntry } from './format/entry';
import type { ListStore } from './list/list-store';
import { readableDevices } from './list/readable';
import { cleanName } from './names';
import { currentOf } from './rotation/chain';

/**
 * The device that a user means by an ID or a name. For an ID it reads one page of the list, for a name all pages, and for an ID
 * that a device had before its key was rotated one or all.
 *
 * @throws AmeshError `unknown_name`, `ambiguous_name`; what reading the list throws
 */
export async function lookUp(trust: ListStore, idOrName: string): Promise<DeviceEntry> {
  if (!isDeviceId(idOrName)) return findDevice(await trust.read(), idOrName);
  // No name looks like an ID.
  const known = await trust.preview(async (draft) => draft.device(await currentOf(draft, idOrName)));
  if (known !== undefined && !known.pending) return known;
  const list = await trust.read();
  if (known !== undefined || !list.isRevoked(idOrName)) return findDevice(list, idOrName);
  throw new AmeshError(TRUST_CODES.unknown_name, `No device is called ${JSON.stringify(idOrName)}.`);
}

/**
 * The devices that already have the name of a new one, in upper or lower case, as far as the list can be read. It reads the
 * whole list.
 *
 * @returns none if the device is in the list already: it keeps its name
 */
export async function namesakesOf(
  trust: ListStore,
  peer: Pick<DeviceEntry, 'deviceId' | 'friendlyName'>,
): Promise<DeviceEntry[]> {
  const list = await trust.read();
  if (list.entry(peer.deviceId) !== undefined) return [];
  const name = cleanName(peer.friendlyName).toLowerCase();
  const { devices } = readableDevices(list);
  return devices.filter((each) => isCurrent(each) && each.friendlyName.toLowerCase() === name);
}
