import { hasEnded } from '../format/ended';
import type { DeviceLine } from '../format/entry';
import type { ListHead } from '../format/head';

const DAY_SECONDS = 86_400;

/** How many days before an end amesh warns. */
export const WARNING_DAYS = Object.freeze([14, 7, 1] as const);

/** When a device ends, unless a person changes that. */
export interface Ending {
  /** `device`: the trust in the device ends. `lease`: its lease ends for good. */
  readonly kind: 'device' | 'lease';
  /** The ID of the device. */
  readonly id: string;
  /** The name of the device. */
  readonly name: string;
  /** Unix seconds. */
  readonly endsAt: number;
  /** How long it was meant to last, in seconds; `Infinity` if that is not known. */
  readonly lifeSeconds: number;
}

/** Whether a device enrolled by a grant, and its lease has ended. */
export function isLeaseOver({ lease }: Pick<DeviceLine, 'lease'>, nowSeconds: number): boolean {
  return lease !== undefined && hasEnded(lease.expiresAt, nowSeconds);
}

/** Whether a device may call now: it is a controller, and neither its lease nor the trust in it has ended. */
export function mayCall(device: DeviceLine, nowSeconds: number): boolean {
  const { roles, expiresAt } = device;
  const isOver =
    isLeaseOver(device, nowSeconds) || (expiresAt !== undefined && hasEnded(expiresAt, nowSeconds));
  return roles.includes('controller') && !isOver;
}

/** When a device may no longer call, whatever it does until then; null if there is no such end, or it may not call anyway. */
export function endingOf(device: DeviceLine, { grants }: Pick<ListHead, 'grants'>): Ending | null {
  const { deviceId: id, friendlyName: name, roles, addedAt, expiresAt, lease } = device;
  if (!roles.includes('controller')) return null;
  const end = expiresAt ?? Number.POSITIVE_INFINITY;
  if (lease !== undefined && lease.endsAt < end) {
    const grant = grants.find((each) => each.id === lease.grant);
    const lifeSeconds = grant?.maxLeaseSeconds ?? lease.endsAt - addedAt;
    return { kind: 'lease', id, name, endsAt: lease.endsAt, lifeSeconds };
  }
  if (expiresAt === undefined) return null;
  return { kind: 'device', id, name, endsAt: expiresAt, lifeSeconds: Number.POSITIVE_INFINITY };
}

/**
 * Which warning is due. A device that was meant to last a day gets none for a week before its end.
 *
 * @param sinceSeconds the last time at which warnings were given; default never
 * @returns 14, 7 or 1 day; null if none is due, or it has ended
 */
export function dueWarning(
  { endsAt, lifeSeconds }: Pick<Ending, 'endsAt' | 'lifeSeconds'>,
  nowSeconds: number,
  sinceSeconds = Number.NEGATIVE_INFINITY,
): (typeof WARNING_DAYS)[number] | null {
  if (endsAt < nowSeconds) return null;
  const days = WARNING_DAYS.findLast((each) => endsAt - each * DAY_SECONDS <= nowSeconds);
  if (days === undefined || lifeSeconds <= days * DAY_SECONDS) return null;
  return endsAt - days * DAY_SECONDS > sinceSeconds ? days : null;
}
