import { MAX_JUMP } from '../../trust/list/newest';
import type { PastReset } from '../../trust/list/seen-in-memory';

/** Resets within this time share the room of one jump: an instance that saw none of them follows the last one. */
const TOGETHER_SECONDS = 30 * 86_400;

/**
 * The revision that a reset continues above. Other instances may remember newer lists than these files do: it goes far
 * enough for all of them, and no further than an instance follows that saw nothing since the first of several resets. So
 * each takes half of the room that is left.
 *
 * @param newest the highest revision that is known here; 0 for none
 * @param last what seen.json says about the resets before
 */
export function revisionOfReset(
  newest: number,
  last: PastReset | undefined,
  nowSeconds: number,
): { readonly after: number; readonly reset: PastReset } {
  const roomAfter = ({ from }: PastReset) => Math.floor((from + MAX_JUMP - newest) / 2);
  const isTogether =
    last !== undefined && nowSeconds - last.atSeconds < TOGETHER_SECONDS && roomAfter(last) > 1;
  const reset = isTogether ? last : { from: newest, atSeconds: nowSeconds };
  return { after: newest + roomAfter(reset), reset };
}
