import type { DeviceEntry } from '@authmesh/sdk/admin/list';
import { here } from '../words/here';

const MAX_SHOWN = 3;

/** Says that devices in the list, at least one, already have the name of a new one. */
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
