import type { DeviceEntry, PagedList } from '@authmesh/sdk/admin';

/** The devices of a list, sorted by the time when they were added. The list itself is sorted by ID. */
export function devicesOf(list: PagedList): DeviceEntry[] {
  return [...list.devices()].sort((a, b) => a.addedAt - b.addedAt || compare(a, b));
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

function compare({ friendlyName: a }: DeviceEntry, { friendlyName: b }: DeviceEntry): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
