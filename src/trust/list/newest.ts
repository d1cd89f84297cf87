import { toBase64Url } from '../../core/encoding';
import type { OpenedHead } from '../format/head';
import type { Seen } from './seen-in-memory';

/** How far a list may be ahead of the one that was seen. Somebody who has the key for a moment must not use up all numbers. */
export const MAX_JUMP = 2 ** 20;

/** How a list that lies there compares with the newest one that was seen. */
export type Order = 'newer' | 'same' | 'older' | 'other' | 'too-far';

/**
 * Lists are ordered by the position of their owner, and then by revision: the first list of the next owner shuts out all
 * of the former one.
 *
 * @param owners as they are set here; the last one seals from now on
 */
export function compareWithSeen(
  { head, position, mark }: OpenedHead,
  seen: Seen | null,
  owners: readonly Uint8Array[],
): Order {
  if (seen === null) return 'newer';
  // Whatever is set here now: nobody brings a former owner back by the order of two keys.
  if (seen.former?.includes(head.owner)) return 'older';
  // An owner that is not set here any more comes before those that are.
  const seenPosition = owners.findIndex((owner) => toBase64Url(owner) === seen.owner);
  if (position !== seenPosition) return position > seenPosition ? 'newer' : 'older';
  if (head.revision < seen.revision) return 'older';
  if (head.revision > seen.revision) return head.revision - seen.revision > MAX_JUMP ? 'too-far' : 'newer';
  return mark === seen.mark ? 'same' : 'other';
}
