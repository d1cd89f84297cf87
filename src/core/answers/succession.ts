import type { CryptoProvider } from '../crypto/provider';
import type { AllowList } from '../devices/allow-list';
import { isInTime, type Rotation, readRotation } from '../rotation/rotation';

/** The field in which a target that has moved to another key says so. */
export const SUCCESSION_HEADER = 'authmesh-succession';

/** Statements that were right, by their texts: until a caller has noted a move, each answer has the same one. */
const checked = new Map<string, Rotation>();
const MAX_CHECKED = 16;

/**
 * Reads what a target says to its callers about its next key: a statement of both keys that is for nobody else.
 *
 * @returns null for any other text; whether the statement is in time is for the caller to check
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

/** The part of a list that says whose keys the target had. */
export type MovedList = Pick<AllowList, 'succession' | 'deviceId' | 'formerOwnerIds'>;

/**
 * The statement that an answer carries: only if the key that signs it is the next one. A caller that names that key already
 * knows it; but if it is a former key that the target has again, callers that have followed to another one name it, too.
 *
 * @param list has the statement, if there is one
 * @param signerId in whose name the answer is signed
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
