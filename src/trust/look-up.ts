import { AmeshError, isAmeshError, partsOf } from '../core/errors/amesh-error';
import { isDeviceId } from '../core/wire/credentials';
import { TRUST_CODES } from './errors/codes';
import { type DeviceEntry, isNextOf } from './format/entry';
import type { ListStore } from './list/list-store';
import { readableDevices } from './list/readable';
import { cleanName } from './names';
import { currentOf } from './rotation/chain';

/**
 * The device that a user means by an ID or a name. For an ID it reads one page of the list, for a name all pages, and for an ID
 * that a device had before its key was rotated one page or all.
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
 * The devices in the readable part of the list that already have the name of a new device, in upper or lower case. It reads the
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

/** All devices, to find a name among them. Throws if a part cannot be read: a device there may have the name, too. */
function devicesOf(list: { devices(): Iterable<DeviceEntry> }, name: string): DeviceEntry[] {
  try {
    return [...list.devices()];
  } catch (error) {
    if (!isAmeshError(error)) throw error;
    const { facts, advice } = partsOf(error);
    const detail = `${error.detail} So it is not certain which device is called ${JSON.stringify(name)}.`;
    const fix = `Give its ID instead, if its own part can be read. ${advice.fix}`;
    throw new AmeshError(facts, detail, { ...advice, fix, cause: error });
  }
}

/**
 * The device that a user means by an ID or a name. An ID has priority over a name, and an exact name over a name in another case.
 *
 * @throws AmeshError `unknown_name`, `ambiguous_name`
 */
export function findDevice(
  list: { entry(deviceId: string): DeviceEntry | undefined; devices(): Iterable<DeviceEntry> },
  idOrName: string,
): DeviceEntry {
  const name = idOrName.normalize('NFC'); // as names are stored, whatever the keyboard produces
  const byId = isDeviceId(idOrName) ? list.entry(idOrName) : undefined;
  const last = byId && lastOf(list, byId);
  if (last !== undefined && isCurrent(last)) return last;
  const devices = devicesOf(list, idOrName);
  const isOne = ({ was, keys }: DeviceEntry) =>
    was?.includes(idOrName) || keys?.some((key) => key.deviceId === idOrName);
  const once = devices.find((each) => isCurrent(each) && isOne(each)) ?? last;
  if (once !== undefined) return lastOf(list, once);
  const named = devices.filter(
    (each) => isCurrent(each) && each.friendlyName.toLowerCase() === name.toLowerCase(),
  );
  // A target that has replaced its key as a caller has two entries with its name: the latter one is the device.
  const isReplaced = (each: DeviceEntry) => {
    const { deviceId } = lastOf(list, each);
    return deviceId !== each.deviceId && named.some((other) => other.deviceId === deviceId);
  };
  const alike = named.filter((each) => !isReplaced(each));
  const exact = alike.filter(({ friendlyName }) => friendlyName === name);
  const [found, ...others] = exact.length > 0 ? exact : alike;
  if (found === undefined)
    throw new AmeshError(TRUST_CODES.unknown_name, `No device is called ${JSON.stringify(idOrName)}.`);
  if (others.length > 0) {
    const ids = [found, ...others].slice(0, 10).map(({ deviceId }) => deviceId);
    throw new AmeshError(
      TRUST_CODES.ambiguous_name,
      `${others.length + 1} devices are called ${JSON.stringify(idOrName)}: ${ids.join(', ')}${others.length >= 10 ? ', …' : ''}.`,
    );
  }
  return found;
}

/** Whether an entry is a device of its own: it neither was replaced nor waits to replace another one. */
export function isCurrent({ pending, retiresAt, roles }: DeviceEntry): boolean {
  return !pending && (retiresAt === undefined || roles.length > 0);
}

/** The device that has replaced a device, or the device itself. For a pending successor: the device that it would replace. */
function lastOf(list: { entry(deviceId: string): DeviceEntry | undefined }, found: DeviceEntry): DeviceEntry {
  let last = found;
  if (found.pending) last = list.entry(found.was?.at(-1) ?? '') ?? found;
  const seen = new Set<string>();
  while (last.retiresAt !== undefined && !seen.has(last.deviceId)) {
    seen.add(last.deviceId);
    const next = list.entry(last.next ?? '');
    if (!isNextOf(last, next) || next.pending) break;
    last = next;
  }
  return last;
}
