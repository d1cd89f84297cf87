import type { AmeshError } from '../../core/errors/amesh-error';
import { type DeviceEntry, readEntry, unknownEntry } from '../format/entry';
import { textsOf } from '../format/page';
import { groupHosts, type PagedList } from '../format/paged-list';

/** A part of a list that cannot be read, and why. */
export interface MissingPart {
  /** The hash of a page; or the ID of a device, if only its entry is not understood. */
  readonly name: string;
  /** Why it cannot be read. */
  readonly error: AmeshError;
}

/** The devices of a list that can be read, sorted by page and ID, and the parts that cannot. */
export function readableDevices(list: PagedList): {
  /** The devices that can be read. */
  readonly devices: DeviceEntry[];
  /** The parts that cannot. */
  readonly missing: MissingPart[];
} {
  const hosts = groupHosts(list.head.targets);
  const devices: DeviceEntry[] = [];
  const missing: MissingPart[] = [];
  for (const { hash, content } of list.pages) {
    if ('error' in content) {
      missing.push({ name: hash ?? 'the head', error: content.error });
      continue;
    }
    for (const { deviceId, line } of textsOf(content.bytes)) {
      const entry = parse(line);
      if (entry === null) missing.push({ name: deviceId, error: unknownEntry() });
      else if (entry.kind === 'device') devices.push({ ...entry.device, hosts: hosts.get(deviceId) ?? [] });
    }
  }
  return { devices, missing };
}

function parse(line: string) {
  try {
    return readEntry(JSON.parse(line));
  } catch {
    return null;
  }
}
