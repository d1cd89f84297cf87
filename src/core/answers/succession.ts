import type { CryptoProvider } from '../crypto/provider';
import type { AllowList } from '../devices/allow-list';
import { isInTime, type Rotation, readRotation } from '../rotation/rotation';

/** The field in which a target says that it has moved to another key. */
export const SUCCESSION_HEADER = 'authmesh-succession';

/** Statements that were checked, by their texts: each answer carries the same one until the caller has noted the move. */
const checked = new Map<string, Rotation>();
const MAX_CHECKED = 16;

/**
 * Reads what a target tells its callers about its next key: a statement that both keys have signed, and that names no other target.
 *
 * @returns null for any other text; the caller of this function has to check the time of the statement
 * @see docs/protocol.md, "A target that moves to another key"
 */
export async function readSuccession(
  text: string,
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): Promise<Rotation | null> {
  const known = checked.get(text);
  if (known !== undefined) return known;
  const rotation = await readRotation(text, crypto);
  if (rotation === null || rotation.targetId !== rotation.formerId) return null;
  if (checked.size >= MAX_CHECKED) checked.delete(checked.keys().next().value as string);
  checked.set(text, rotation);
  return rotation;
}

/** The part of a list that says which keys the target had. */
export type MovedList = Pick<AllowList, 'succession' | 'deviceId' | 'formerOwnerIds'>;

/**
 * The statement that an answer carries: undefined unless the next key signs the answer. A caller that names the next key already
 * knows it. Exception: if the target has gone back to a former key, callers that have followed it to another one name that former
 * key, too.
 *
 * @param list has the statement, if there is one
 * @param signerId the device ID in whose name the answer is signed
 * @param named the ID that the request names
 */
export async function successionFor(
  { succession: text, deviceId, formerOwnerIds }: MovedList,
  { signerId, named, nowMs }: { signerId: string; named: string | undefined; nowMs: number },
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): Promise<string | undefined> {
  const isBack = signerId === deviceId || formerOwnerIds?.includes(signerId);
  if (text === undefined || (named === signerId && !isBack)) return undefined;
  const rotation = await readSuccession(text, crypto);
  return rotation?.nextId === signerId && isInTime(rotation, nowMs) ? text : undefined;
}
