import { toBase64Url } from '../../core/encoding';
import type { OpenedHead } from '../format/head';
import type { Seen } from './seen-in-memory';

/** How far a list may be ahead of the list that was seen. Somebody who has the key for a moment must not use up all revisions. */
export const MAX_JUMP = 2 ** 20;

/** How a stored list compares with the newest list that was seen. */
export type Order = 'newer' | 'same' | 'older' | 'other' | 'too-far';

/**
 * Orders lists by the position of their owner, then by revision: the first list of the next owner makes all lists of the
 * former owner old.
 *
 * @param owners the configured owners, in order
 * @param returned one of them whose lists count again
 */
export function compareWithSeen(
  { head, position, mark }: OpenedHead,
  seen: Seen | null,
  owners: readonly Uint8Array[],
  returned?: string,
): Order {
  if (seen === null) return 'newer';
  // This does not depend on the configuration: swapping two keys there must not bring a former owner back.
  if (head.owner !== returned && seen.former?.includes(head.owner)) return 'older';
  // An owner that is no longer configured comes before all others.
  const seenPosition = owners.findIndex((owner) => toBase64Url(owner) === seen.owner);
  if (position !== seenPosition) return position > seenPosition ? 'newer' : 'older';
  if (head.revision < seen.revision) return 'older';
  if (head.revision > seen.revision) return head.revision - seen.revision > MAX_JUMP ? 'too-far' : 'newer';
  return mark === seen.mark ? 'same' : 'other';
}
