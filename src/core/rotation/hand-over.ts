import type { CryptoProvider, Signer } from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { payloadOf, type Rotation, readRotation, signatureOf } from './rotation';

/** The beginning of a hand-over as a text. */
const PREFIX = 'amesh_hand_over_';
const FORM = new RegExp(`^${PREFIX}([\\w-]+\\.[\\w-]{86})$`);

/**
 * Makes a hand-over: the former key's half of a statement about the next key of a target. It is no secret, since nobody can
 * complete it without the next key.
 *
 * @param former the key of the target
 * @param nextKey the key to which the target moves: a compressed point, 33 bytes
 * @param nowMs the clock, Unix milliseconds
 * @returns about 320 characters, which {@link completeHandOver} accepts for 30 days
 * @throws what the signer throws
 */
export async function signHandOver(
  former: Signer,
  nextKey: Uint8Array,
  nowMs: number,
  crypto: Pick<CryptoProvider, 'sha256'>,
): Promise<string> {
  const targetId = await deviceIdOf(former.publicKey, crypto);
  const payload = payloadOf(former.publicKey, nextKey, targetId, nowMs);
  return `${PREFIX}${payload}.${await signatureOf(former, payload)}`;
}

/**
 * Completes a hand-over with the next key.
 *
 * @returns the statement by which callers follow the target; null if the text is not a hand-over to this key
 * @throws what the signer throws
 */
export async function completeHandOver(
  text: string,
  next: Signer,
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): Promise<Rotation | null> {
  const [, half] = FORM.exec(text.trim()) ?? [];
  if (half === undefined) return null;
  const [payload = ''] = half.split('.');
  const rotation = await readRotation(`${half}.${await signatureOf(next, payload)}`, crypto);
  return rotation?.targetId === rotation?.formerId ? rotation : null;
}
