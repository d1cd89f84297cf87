import { ROTATION_LIMITS } from '../../core/rotation/rotation';
import type { DeviceLine, Entry } from './entry';

/** For how long after an end or a revocation an older token or statement can count: 24 h, and an hour for clocks that differ. */
export const COMEBACK_SECONDS = 25 * 3600;

/** Whether an end has passed: a verifier refuses from the first millisecond after it, which is still in the same second. */
export function hasEnded(endsAt: number, nowSeconds: number): boolean {
  return endsAt <= nowSeconds;
}

/**
 * What is left of an entry. A tombstone whose time is over is forgotten. A device whose lease has ended stays only if it is
 * also a target, or if a person has set its end or cut its keys: a grant that is still open would add it again without them.
 *
 * @returns the same entry if nothing has ended; null if nothing is left
 */
export function withoutEnded(entry: Entry, nowSeconds: number): Entry | null {
  if (entry.kind === 'tombstone') return entry.tombstone.until > nowSeconds ? entry : null;
  if (entry.kind === 'foreign') return entry;
  if (isPast(entry.device, nowSeconds)) return null;
  if (!hasLeft(entry.device, nowSeconds)) return entry;
  const { lease: _, scopes: __, ...device } = entry.device;
  const roles = device.roles.filter((role) => role !== 'controller');
  return roles.length === 0 ? null : { kind: 'device', device: { ...device, roles } };
}

/**
 * Whether a device is no caller any more, since its lease has ended. Its entry says so when its page changes. Until then its scopes
 * must not count either: otherwise the next change of another device would decide about them.
 */
export function hasLeft({ lease, expiresAt, keysSince }: DeviceLine, nowSeconds: number): boolean {
  if (lease === undefined) return false;
  const keepSeconds = expiresAt === undefined ? 0 : COMEBACK_SECONDS;
  const isCut = keysSince !== undefined && keysSince + COMEBACK_SECONDS > nowSeconds;
  return hasEnded(lease.expiresAt + keepSeconds, nowSeconds) && !isCut;
}

/**
 * Whether the time of an entry is over: of a key that was replaced, or of a successor that nobody has accepted. It leaves the list
 * when its page changes.
 */
export function isPast({ roles, retiresAt, pending, addedAt }: DeviceLine, nowSeconds: number): boolean {
  const endsAt = pending ? addedAt + ROTATION_LIMITS.lifeSeconds : retiresAt;
  return endsAt !== undefined && roles.length === 0 && endsAt + COMEBACK_SECONDS < nowSeconds;
}
