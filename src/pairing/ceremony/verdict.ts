import { hasExactly } from '../../core/strict-json';
import { PairingError, tampered } from './failure';

/** Why a side says no in M6 or M7. */
export type Refusal = 'codes_differ' | 'declined';

/** M6 as "verified", M7 as "commit". */
export const AGREED = Object.freeze({});

/** M6 or M7 as a no. */
export function refused(why: Refusal): object {
  return { refused: why };
}

/**
 * Takes M6 or M7 for a yes.
 *
 * @throws PairingError with the reason where it is a no; `tampered` where it is neither
 */
export function readVerdict(content: Record<string, unknown>): void {
  if (hasExactly(content, [])) return;
  const { refused: why } = content;
  if (hasExactly(content, ['refused']) && (why === 'codes_differ' || why === 'declined'))
    throw new PairingError(why);
  throw tampered();
}

/** M8 as "done". @throws PairingError `tampered` where it is anything else */
export function readDone(content: Record<string, unknown>): void {
  if (!hasExactly(content, [])) throw tampered();
}
