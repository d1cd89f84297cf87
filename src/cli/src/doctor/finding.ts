import { VariableError } from '@authmesh/sdk/admin/list';
import { fixWith, isAmeshError } from '@authmesh/sdk/core';
import type { ExitCode } from '../errors/exit-codes';
import { commandHere } from '../words/here';

/** The time limit of a check, in milliseconds. */
export const PATIENCE_MS = 5000;
/** Extra time for the check to explain why it was too slow, in milliseconds. */
const GRACE_MS = 100;

/** `skipped`: there is nothing to check, or another problem prevents the check. */
export type State = 'ok' | 'warning' | 'failed' | 'skipped';

/** The result of one check. */
export interface Finding {
  readonly state: State;
  /** What was found: one or two sentences, no secret. */
  readonly message: string;
  /** The command or sentence that fixes it; null if there is nothing to fix. */
  readonly fix: string | null;
  /** The exit code of a failed check, if it has its own. */
  readonly exitCode?: ExitCode;
}

export const ok = (message: string): Finding => ({ state: 'ok', message, fix: null });
export const skipped = (message: string): Finding => ({ state: 'skipped', message, fix: null });
export const warning = (message: string, fix: string | null): Finding => ({ state: 'warning', message, fix });
export const failed = (message: string, fix: string | null): Finding => ({ state: 'failed', message, fix });

/**
 * Runs a check within its time limit. Never throws.
 *
 * @param look receives a signal that is aborted at the time limit
 */
export async function bounded<T>(look: (signal: AbortSignal) => Promise<T>): Promise<T | Finding> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const late = new Promise<Finding>((resolve) => {
    signal.addEventListener('abort', () => {
      // After the abort, the check itself may give a better explanation.
      setTimeout(() => resolve(failed(`No response within ${PATIENCE_MS / 1000} s.`, null)), GRACE_MS);
    });
  });
  const keptAlive = setTimeout(() => {}, PATIENCE_MS); // the signal's own timer does not keep the process alive
  try {
    return await Promise.race([look(signal), late]);
  } catch (error) {
    return signal.aborted ? late : toFinding(error);
  } finally {
    clearTimeout(keptAlive);
  }
}

export function toFinding(error: unknown): Finding {
  if (isAmeshError(error)) return failed(error.detail, fixWith(error, commandHere) || null);
  if (error instanceof VariableError) return failed(error.detail, error.fix || null);
  return failed(`${error instanceof Error ? error.message : String(error)}`, null);
}
