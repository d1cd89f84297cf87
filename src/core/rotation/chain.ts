import type { CryptoProvider } from '../crypto/provider';
import { equalBytes } from '../encoding';
import { readRotation } from './rotation';

/** How many statements an identity keeps. */
export const MAX_CHAIN = 16;

/**
 * Whether an identity is still the one whose key was opened: each statement that a device made about itself replaces its key with
 * the next one.
 *
 * @param from the opened key: a compressed point, 33 bytes
 * @param to the present key, likewise
 * @param statements the oldest first. Those before `from` do not matter
 */
export async function leadsTo(
  from: Uint8Array,
  to: Uint8Array,
  statements: readonly string[],
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): Promise<boolean> {
  let key = from;
  for (const text of statements.slice(-MAX_CHAIN)) {
    const rotation = await readRotation(text, crypto);
    if (rotation?.targetId !== rotation?.formerId) continue; // it is a statement for another device
    if (rotation !== null && equalBytes(rotation.formerKey, key)) key = rotation.nextKey;
  }
  return equalBytes(key, to);
}
