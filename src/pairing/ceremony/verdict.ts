import { hasExactly } from '../../core/strict-json';
import { PairingError, tampered } from './failure';

/** The reason for a refusal in M6 or M7. */
export type Refusal = 'codes_differ' | 'declined';

/** The content of M6 for "verified", and of M7 for "commit". */
export const AGREED = Object.freeze({});

/** M6 or M7 as a refusal. */
export function refused(why: Refusal): object {
  return { refused: why };
}

/**
 * Checks that M6 or M7 agrees.
 *
 * @throws PairingError with the reason for a refusal; `tampered` for anything else
 */
export function readVerdict(content: Record<string, unknown>): void {
  if (hasExactly(content, [])) return;
  const { refused: why } = content;
  if (hasExactly(content, ['refused']) && (why === 'codes_differ' || why === 'declined'))
    throw new PairingError(why);
  throw tampered();
}

/** M8: "done". @throws PairingError `tampered` for anything else */
export function readDone(content: Record<string, unknown>): void {
  if (!hasExactly(content, [])) throw tampered();
}
