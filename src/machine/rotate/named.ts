import type { PagedList } from '../../trust/format/paged-list';

/** Names devices in a message: by name and ID, or only by ID if the list does not have the device. */
export function named(deviceIds: readonly string[], list: Pick<PagedList, 'entry'>): string {
  return deviceIds
    .map((deviceId) => {
      const entry = list.entry(deviceId);
      return entry === undefined ? deviceId : `${JSON.stringify(entry.friendlyName)} (${deviceId})`;
    })
    .join(', ');
}
