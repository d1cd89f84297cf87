import type { PagedList } from '../../trust/format/paged-list';

/** Devices of a list by their names and IDs, for a message; those that are not in it by their IDs. */
export function named(deviceIds: readonly string[], list: Pick<PagedList, 'entry'>): string {
  return deviceIds
    .map((deviceId) => {
      const entry = list.entry(deviceId);
      return entry === undefined ? deviceId : `${JSON.stringify(entry.friendlyName)} (${deviceId})`;
    })
    .join(', ');
}
