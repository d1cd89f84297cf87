import { AmeshError } from '../core/errors/amesh-error';
import { isDeviceId } from '../core/wire/credentials';
import { findDevice } from './changes';
import { TRUST_CODES } from './errors/codes';
import type { DeviceEntry } from './format/entry';
import type { ListStore } from './list/list-store';
import { readableDevices } from './list/readable';
import { cleanName } from './names';

/**
 * The device that a user means by an ID or a name. For an ID it reads one page of the list, for a name all pages.
 *
 * @throws AmeshError `unknown_name`, `ambiguous_name`; what reading the list throws
 */
export async function lookUp(trust: ListStore, idOrName: string): Promise<DeviceEntry> {
  if (!isDeviceId(idOrName)) return findDevice(await trust.read(), idOrName);
  const known = await trust.preview((draft) => draft.device(idOrName)); // no name looks like an ID
  if (known !== undefined) return known;
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
  return readableDevices(list).devices.filter(({ friendlyName }) => friendlyName.toLowerCase() === name);
}
