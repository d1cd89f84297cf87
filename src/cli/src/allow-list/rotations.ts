import {
  type Conflict,
  type Device,
  type DeviceEntry,
  lookUp,
  type PendingRotation,
  pendingOf,
} from '@authmesh/sdk/admin/list';
import { AmeshError, CODES } from '@authmesh/sdk/core';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { printable } from '../words/printable';
import { nameAmong } from './namesakes';

/** How many next keys are named. */
const MAX_NAMED = 5;

/**
 * Finds a next key that waits.
 *
 * @param idOrName the name of the device, any of its IDs, or the ID of the next key
 * @throws AmeshError `no_rotation`, and as {@link lookUp}
 */
export async function findRotation(trust: Device['trust'], idOrName: string): Promise<PendingRotation> {
  const device = await lookUp(trust, idOrName);
  const found = await trust.preview((draft) => pendingOf(draft, device.deviceId));
  if (found !== undefined) return found;
  throw new AmeshError(
    CODES.no_rotation,
    `No next key of "${printable(device.friendlyName)}" (${device.deviceId}) is waiting.`,
  );
}

/** The relation of an entry to another one, shown as its role; null if it is a device of its own. */
export function rotationText({ pending, was = [], next, retiresAt }: DeviceEntry): string | null {
  if (pending) return `waits to replace ${was.at(-1)}`;
  if (retiresAt === undefined) return null;
  const verb = retiresAt * 1000 < Date.now() ? 'ended' : 'ends';
  return `replaced by ${next}, ${verb} ${momentText(retiresAt)}`;
}

/** The devices whose next keys wait, with those keys. */
export function pendingRotations(devices: readonly DeviceEntry[]): PendingRotation[] {
  return devices.flatMap((next) => {
    const former = next.pending && devices.find(({ deviceId }) => deviceId === next.was?.at(-1));
    return former ? [{ former, next }] : [];
  });
}

/** What a list says about the next key of a device. */
export interface Rotation {
  /** Whether an administrator has yet to accept it. */
  readonly state: 'waiting' | 'accepted';
  readonly friendlyName: string;
  /** The ID of the key that is replaced. */
  readonly formerId: string;
  /** The ID of the key that replaces it. */
  readonly nextId: string;
  /** Until when the former key counts, Unix seconds; null while the next one waits. */
  readonly formerUntil: number | null;
}

/** The next keys that wait, and the former ones that still count. */
export function rotationsOf(devices: readonly DeviceEntry[], nowSeconds: number): Rotation[] {
  return [
    ...pendingRotations(devices).map(({ former, next }) => ({
      state: 'waiting' as const,
      friendlyName: former.friendlyName,
      formerId: former.deviceId,
      nextId: next.deviceId,
      formerUntil: null,
    })),
    ...devices.flatMap(({ deviceId, friendlyName, next, retiresAt = 0 }) =>
      next === undefined || retiresAt <= nowSeconds
        ? []
        : [
            {
              state: 'accepted' as const,
              friendlyName: devices.find((each) => each.deviceId === next)?.friendlyName ?? friendlyName,
              formerId: deviceId,
              nextId: next,
              formerUntil: retiresAt,
            },
          ],
    ),
  ];
}

/** A rotation, for people. */
export function aboutRotation({ state, friendlyName, formerId, nextId, formerUntil }: Rotation): string {
  const name = printable(friendlyName);
  if (state === 'waiting')
    return `${name}  ${formerId} asks to be replaced by ${nextId}: ${here(`amesh rotate accept ${nextId}`)}`;
  return `${name}  ${formerId} is replaced by ${nextId}, and ends ${momentText(formerUntil ?? 0)}`;
}

/** A device whose next key waits, for people. */
export function pendingText({ former, next }: PendingRotation): string {
  return `"${printable(former.friendlyName)}" (${former.deviceId}) asks to replace its key with ${next.deviceId}`;
}

/** The same as warnings with the commands that decide, line by line. */
export function pendingNotes(devices: readonly DeviceEntry[]): string[] {
  const found = pendingRotations(devices);
  const more = found.length - MAX_NAMED;
  const name = found.length === 1 && found[0] !== undefined ? nameAmong(devices, found[0].former) : 'ID';
  return [
    ...found.slice(0, MAX_NAMED).map((each) => `! ${pendingText(each)}.`),
    ...(more > 0 ? [`! ${more} more ask for that.`] : []),
    ...(found.length > 0
      ? [
          `  If its owner says that this is right:  ${here(`amesh rotate accept ${name}`)}`,
          `  If not:                                ${here(`amesh rotate refuse ${name}`)}`,
        ]
      : []),
  ];
}

/** A device whose key two parties have, in words for people. */
export function conflictText({ deviceId, conflict, revokedAt }: Conflict): string {
  return `"${printable(conflict)}" (${deviceId}) was revoked ${momentText(revokedAt)}: its key has named two next keys, so two parties have it`;
}

/** The same as warnings, line by line. */
export function conflictNotes(conflicts: readonly Conflict[]): string[] {
  const more = conflicts.length - MAX_NAMED;
  return [
    ...conflicts.slice(0, MAX_NAMED).map((each) => `! ${conflictText(each)}.`),
    ...(more > 0 ? [`! ${more} more were revoked like that.`] : []),
    ...(conflicts.length > 0
      ? ['  Find out who, and pair the device again, with a new key. See docs/keys.md.']
      : []),
  ];
}
