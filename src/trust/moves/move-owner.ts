import type { ListDraft } from '../format/draft';
import { MAX_FORMER_IDS } from '../format/entry';
import type { ListHead } from '../format/head';

/**
 * Prepares a list for another owner: requests may still name the ID of the former owner.
 *
 * @param former the last head that the former owner sealed
 * @param succession the statement by which the former owner named the next one; default: none, so callers that ask for proofs
 *   cannot follow
 */
export function moveOwner(
  draft: ListDraft,
  { list, ownerId = list, was = [] }: Pick<ListHead, 'list' | 'ownerId' | 'was'>,
  succession?: string,
): void {
  const ids = ownerId === list ? was : [...was.filter((id) => id !== ownerId), ownerId];
  draft.change({ was: ids.length === 0 ? undefined : ids.slice(-MAX_FORMER_IDS), succession });
}
