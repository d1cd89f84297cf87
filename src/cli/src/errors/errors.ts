import type { AmeshCode } from '@authmesh/sdk/core';
import type { CommandCode } from './codes';

/** The end of a failure message if nothing was changed. */
export const UNCHANGED = 'No changes were made.';

/** The command line is wrong: exit code 2. Nothing was tried yet. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  /** What to do about it: one sentence. */
  readonly hint: string | undefined;
  /** The usage line to show; default that of the command. */
  readonly usage: string | undefined;

  constructor(message: string, more: { hint?: string | undefined; usage?: string | undefined } = {}) {
    super(message);
    this.hint = more.hint;
    this.usage = more.usage;
  }
}

/** The user said no: exit code 8. */
export class DeclinedError extends Error {
  override readonly name = 'DeclinedError';
  /** Whether nothing was changed. */
  readonly isUnchanged = true;

  constructor() {
    super('Cancelled.');
  }
}

/** The user pressed Ctrl+C, or the process received SIGTERM: exit code 130. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
  /** Whether nothing was changed. */
  readonly isUnchanged: boolean;

  /** @param message says what was changed; default: nothing was */
  constructor(message?: string) {
    super(message ?? 'Interrupted.');
    this.isUnchanged = message === undefined;
  }
}

/** A failure for which the SDK has no error class. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  /** Whether nothing was changed. */
  readonly isUnchanged: boolean;

  /**
   * @param code the code in `--json`
   * @param hint what to do about it: one sentence
   * @param options `isUnchanged`: whether nothing was changed; default true
   */
  constructor(
    readonly code: CommandCode | AmeshCode,
    message: string,
    readonly hint: string,
    { isUnchanged = true }: { readonly isUnchanged?: boolean } = {},
  ) {
    super(message);
    this.isUnchanged = isUnchanged;
  }
}
