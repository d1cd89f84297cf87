import type { DeviceEntry, PagedList } from '@authmesh/sdk/admin/list';
import { here } from '../words/here';
import { nameForCommand } from '../words/shell';
import { readDevices } from './devices';

const MAX_SHOWN = 3;

/** Says that at least one device in the list already has the name of a new one. */
export function namesakesText(namesakes: readonly DeviceEntry[]): string {
  const [first] = namesakes as [DeviceEntry];
  const name = JSON.stringify(first.friendlyName);
  if (namesakes.length === 1) return `There is already a device called ${name} (${first.deviceId}).`;
  const ids = namesakes.slice(0, MAX_SHOWN).map(({ deviceId }) => deviceId);
  const more = namesakes.length > MAX_SHOWN ? ', …' : '';
  return `There are already ${namesakes.length} devices called ${name} (${ids.join(', ')}${more}).`;
}

/** The same after the new device was added, with the command that renames it. */
export function namesakesNotes(
  namesakes: readonly DeviceEntry[],
  { deviceId }: Pick<DeviceEntry, 'deviceId'>,
): string[] {
  if (namesakes.length === 0) return [];
  return [
    `! ${namesakesText(namesakes)} Commands now need the ID of the device that you mean.`,
    `  To rename the new one:  ${here(`amesh rename ${deviceId} NEW-NAME`)}`,
  ];
}

/** How to name a device on a command line after it was found by `given`: by its name only if `given` is that name. */
export function nameAsGiven(device: DeviceEntry, given: string): string {
  const isNamed = given.toLowerCase() === device.friendlyName.toLowerCase(); // no name looks like an ID
  return isNamed ? nameForCommand(device) : device.deviceId;
}

/** How to name a device of a list on a command line: by its name if no other device there has it. */
export function nameIn(list: PagedList, device: DeviceEntry): string {
  const { devices, missing } = readDevices(list);
  return missing.length > 0 ? device.deviceId : nameAmong(devices, device);
}

/** The same among devices that were read. */
export function nameAmong(devices: readonly DeviceEntry[], device: DeviceEntry): string {
  const name = device.friendlyName.toLowerCase();
  const isOther = ({ deviceId, friendlyName, pending, retiresAt, roles }: DeviceEntry) =>
    deviceId !== device.deviceId &&
    friendlyName.toLowerCase() === name &&
    // A device that was replaced, or that waits to replace another one, has no name of its own.
    !pending &&
    (retiresAt === undefined || roles.length > 0);
  return devices.some(isOther) ? device.deviceId : nameForCommand(device);
}
