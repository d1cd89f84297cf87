import type { DeviceEntry } from '@authmesh/sdk/admin';
import { here } from '../words/here';

const MAX_SHOWN = 3;

/** Says which devices of the list already have the name of a new one, at least one. */
export function namesakesText(namesakes: readonly DeviceEntry[]): string {
  const [first] = namesakes as [DeviceEntry];
  const name = JSON.stringify(first.friendlyName);
  if (namesakes.length === 1) return `There is already a device called ${name} (${first.deviceId}).`;
  const ids = namesakes.slice(0, MAX_SHOWN).map(({ deviceId }) => deviceId);
  const more = namesakes.length > MAX_SHOWN ? ', …' : '';
  return `There are already ${namesakes.length} devices called ${name} (${ids.join(', ')}${more}).`;
}

/** The same for a device that is in the list now, and how to rename it. */
export function namesakesNotes(
  namesakes: readonly DeviceEntry[],
  { deviceId }: Pick<DeviceEntry, 'deviceId'>,
): string[] {
  if (namesakes.length === 0) return [];
  return [
    `! ${namesakesText(namesakes)} Commands need the ID of each.`,
    `  To rename the new one:  ${here(`amesh rename ${deviceId} NEW-NAME`)}`,
  ];
}
