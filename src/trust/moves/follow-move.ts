import { toBase64Url } from '../../core/encoding';
import { ROTATION_LIMITS, type Rotation } from '../../core/rotation/rotation';
import type { ListDraft } from '../format/draft';
import { MAX_PROVING_KEYS } from '../format/entry';

/**
 * Notes that a target has moved to another key. Answers with the former key count for 30 days more, since several instances move
 * one by one. If the statement says nothing new, or is not about the present key of the target, the draft stays unchanged.
 *
 * A target may go back to a former key. That needs a statement that was made after this device had left that key. Otherwise
 * somebody with a key that was taken back could repeat the statement that named it.
 *
 * @param targetId the ID of the target in the list, whatever its key is now
 * @param rotation the statement in an answer that the next key has signed
 * @returns whether the target has moved
 */
export async function followMove(
  draft: ListDraft,
  targetId: string,
  { formerKey, nextKey, nextId, issuedAt }: Rotation,
  nowSeconds: number,
): Promise<boolean> {
  const target = await draft.device(targetId);
  if (target === undefined || !target.roles.includes('target')) return false;
  const { deviceId, publicKey, keys = [{ deviceId, publicKey }] } = target;
  const [next, present] = [toBase64Url(nextKey), keys.at(-1)];
  if (present?.publicKey !== toBase64Url(formerKey) || next === draft.before.owner) return false;
  const known = keys.find((each) => each.publicKey === next);
  if (known !== undefined && issuedAt < (known.until ?? 0) - ROTATION_LIMITS.overlapSeconds) return false;
  const former = keys
    .slice(0, -1)
    .filter(({ until = 0, publicKey: key }) => until >= nowSeconds && key !== next);
  const until = nowSeconds + ROTATION_LIMITS.overlapSeconds;
  const all = [...former, { ...present, until }, { deviceId: nextId, publicKey: next }];
  await draft.put({ ...target, keys: all.slice(-MAX_PROVING_KEYS) });
  return true;
}
