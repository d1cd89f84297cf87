import type { AmeshCode } from '@authmesh/sdk/core';
import type { CommandCode } from './codes';

/** What a failure that has changed nothing ends with. */
export const UNCHANGED = 'No changes were made.';

/** The command line is wrong: exit code 2, and nothing has been tried yet. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  /** What to do about it, one sentence. */
  readonly hint: string | undefined;
  /** The usage line to show; default the one of the command that was running. */
  readonly usage: string | undefined;

  constructor(message: string, more: { hint?: string | undefined; usage?: string | undefined } = {}) {
    super(message);
    this.hint = more.hint;
    this.usage = more.usage;
  }
}

/** A person answered no: exit code 8. */
export class DeclinedError extends Error {
  override readonly name = 'DeclinedError';

  constructor() {
    super(`Cancelled. ${UNCHANGED}`);
  }
}

/** A person pressed Ctrl+C, or something sent SIGTERM: exit code 130. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';

  constructor(message = `Interrupted. ${UNCHANGED}`) {
    super(message);
  }
}

/** Something went wrong that no error class of the SDK stands for. */
export class CommandError extends Error {
  override readonly name = 'CommandError';

  /**
   * @param code for `--json`
   * @param hint what to do about it, one sentence
   * @param isUnchanged whether nothing has changed
   */
  constructor(
    readonly code: CommandCode | AmeshCode,
    message: string,
    readonly hint: string,
    readonly isUnchanged = true,
  ) {
    super(message);
  }
}
