import { MAX_JUMP } from '../../trust/list/newest';
import type { PastReset } from '../../trust/list/seen-in-memory';

/** Resets within this time share one jump of the revision, so that an instance that saw none of them still follows the last one. */
const TOGETHER_SECONDS = 30 * 86_400;

/**
 * The revision above which a reset continues. Other instances may remember newer lists than these files do. So the revision jumps
 * far enough for all of them; but not so far that an instance that has seen nothing since the first of several resets would refuse
 * it. For that, each reset takes half of the room that is left.
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
