import { fixWith, isAmeshError } from '@authmesh/sdk/core';
import type { ExitCode } from '../errors/exit-codes';
import { commandHere } from '../words/here';

/** How long one check may take, in milliseconds. */
export const PATIENCE_MS = 5000;
/** How long it may take to say why it was not in time, in milliseconds. */
const GRACE_MS = 100;

/** `skipped`: there is nothing to look at, or it could not be told because of something else. */
export type State = 'ok' | 'warning' | 'failed' | 'skipped';

/** What one check has found. */
export interface Finding {
  readonly state: State;
  /** What was seen, one sentence or two; no secret. */
  readonly message: string;
  /** The command or the sentence that mends it; null where there is nothing to mend. */
  readonly fix: string | null;
  /** Of one that failed, where it is not the usual. */
  readonly exitCode?: ExitCode;
}

export const ok = (message: string): Finding => ({ state: 'ok', message, fix: null });
export const skipped = (message: string): Finding => ({ state: 'skipped', message, fix: null });
export const warning = (message: string, fix: string | null): Finding => ({ state: 'warning', message, fix });
export const failed = (message: string, fix: string | null): Finding => ({ state: 'failed', message, fix });

/**
 * Runs a check to its end or for as long as one may take. Never throws.
 *
 * @param look gets a signal that is aborted when the time is over
 */
export async function bounded<T>(look: (signal: AbortSignal) => Promise<T>): Promise<T | Finding> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const late = new Promise<Finding>((resolve) => {
    signal.addEventListener('abort', () => {
      // What has been asked may know better, now that it was told to end.
      setTimeout(() => resolve(failed(`No answer within ${PATIENCE_MS / 1000} s.`, null)), GRACE_MS);
    });
  });
  const keptAlive = setTimeout(() => {}, PATIENCE_MS); // the signal's own timer keeps nothing alive
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
  return failed(`${error instanceof Error ? error.message : String(error)}`, null);
}
