import { momentText } from '../moment';
import type { AmeshCode } from './code-names';
import { CLIENT_CODES, SERVER_CODES } from './codes';
import { type CodeFacts, type Fix, writeFix } from './define-codes';

const BRAND = Symbol.for('amesh.error');

/** What an {@link AmeshError} is made with, where the table of its code does not say it well enough. */
export interface AmeshErrorOptions {
  /** What to do about it; where a `command` follows, what stands before that, without a colon. */
  readonly fix?: string | undefined;
  /** The command to type, an argument a word. */
  readonly command?: readonly string[] | undefined;
  /** As for any Error. */
  readonly cause?: unknown;
}

/**
 * The one error that amesh throws on purpose. `message` is `detail` and then `fix`; neither it nor `cause`
 * ever holds a key, a token, a header or a body. A wrong option is a plain `TypeError` instead.
 *
 * @see docs/errors.md
 */
export class AmeshError extends Error {
  /** The name of the class. */
  override readonly name: string = 'AmeshError';
  /** From the list in `CODES`; compare this, not the message. */
  readonly code: AmeshCode;
  /** The cause, in one sentence. */
  readonly detail: string;
  /** What to do about it, in one sentence; empty where there is nothing to do. It ends with the command, if there is one. */
  readonly fix: string;
  /** The command to type, an argument a word, where that is the fix: `['amesh', 'list']`. */
  readonly command?: readonly string[];

  /**
   * An error with this code.
   *
   * @param facts which error, as `CODES` has it; gives the texts where none are passed
   * @param detail replaces the general cause by a more precise one
   * @param options `fix` replaces the general fix and its command
   */
  constructor(facts: CodeFacts, detail: string = facts.cause, options: AmeshErrorOptions = {}) {
    const { fix = facts.fix, command = options.fix === undefined ? facts.command : undefined } = options;
    const advice: Fix = { fix, command };
    const text = writeFix(advice);
    super(
      text === '' ? detail : `${detail} ${text}`,
      'cause' in options ? { cause: options.cause } : undefined,
    );
    this.code = facts.code;
    this.detail = detail;
    this.fix = text;
    if (command !== undefined) this.command = command;
    Object.defineProperty(this, BRAND, { value: { facts, advice } satisfies Parts });
  }
}

/** What an error was made of. */
interface Parts {
  readonly facts: CodeFacts;
  readonly advice: Fix;
}

/** For what goes on as another value: a frame, a fault. */
export function partsOf(error: AmeshError): Parts {
  return Reflect.get(error, BRAND);
}

/** `redirect_refused`: following the redirect would mean signing something the caller did not ask for. */
export class RedirectRefusedError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'RedirectRefusedError';
  /** Where the server pointed to: an absolute URL, with its query, which the message leaves out. */
  readonly location: string;

  /**
   * The error for one redirect.
   *
   * @param location an absolute URL
   * @param why it is not followed, one sentence
   */
  constructor(location: string, why: string) {
    const [shown] = location.split('?', 1); // the query may hold secrets, and messages end up in logs
    super(CLIENT_CODES.redirect_refused, `${why} The server points to ${shown}.`);
    this.location = location;
  }
}

/** `clock_skew_too_large`: the server's clock is more than 30 s ahead of ours, or more than 300 s behind it. */
export class ClockSkewTooLargeError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'ClockSkewTooLargeError';
  /** The server's time minus ours, in whole seconds away from zero. */
  readonly differenceSeconds: number;

  /**
   * The error for one server.
   *
   * @param authority of that server
   * @param differenceSeconds its time minus ours
   */
  constructor(authority: string, differenceSeconds: number) {
    const isAhead = differenceSeconds > 0;
    super(
      CLIENT_CODES.clock_skew_too_large,
      `${authority} says that its clock is ${Math.abs(differenceSeconds)} s ${isAhead ? 'ahead of' : 'behind'} the clock of this machine.`,
      isAhead ? { fix: 'Set the clock of this machine (NTP): it signs at most 30 s ahead of it.' } : {},
    );
    this.differenceSeconds = differenceSeconds;
  }
}

/** `allow_list_integrity_failure`: the allow list is not what its owner sealed. Nothing is repaired silently. */
export class AllowListIntegrityError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'AllowListIntegrityError';

  /**
   * The error for one list.
   *
   * @param detail what is wrong with it, one sentence
   * @param options `fix` and `command`, where putting the list back is not what helps
   */
  constructor(detail: string, options?: AmeshErrorOptions) {
    super(SERVER_CODES.allow_list_integrity_failure, detail, options);
  }
}

/** `nonce_store_unavailable`: a nonce store could not say whether a nonce is new. */
export class NonceStoreUnavailableError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'NonceStoreUnavailableError';

  /**
   * The error for one store.
   *
   * @param detail what is wrong with it, one sentence
   * @param cause what the store has thrown
   * @param advice `fix` and `command`, where looking at the store is not what helps
   */
  constructor(detail?: string, cause?: unknown, advice?: Fix) {
    super(SERVER_CODES.nonce_store_unavailable, detail, { cause, ...advice });
  }
}

/**
 * The clock was set back, into a time whose nonces are forgotten.
 *
 * @param untilMs the last moment of that time, Unix milliseconds
 */
export function clockSetBack(untilMs: number): NonceStoreUnavailableError {
  return new NonceStoreUnavailableError(
    `The clock was set back, into a time whose nonces are forgotten: it ends at ${momentText(untilMs)}.`,
    undefined,
    { fix: 'Wait until then, or restart: see "A clock that was set back" in docs/protocol.md.' },
  );
}

/**
 * The fix of an error with its command as it has to be where it is shown.
 *
 * @param write makes text of the command
 */
export function fixWith(error: AmeshError, write: (command: readonly string[]) => string): string {
  return writeFix(partsOf(error).advice, write);
}

/** Whether a value is an {@link AmeshError}, also one of another copy or realm of this package. */
export function isAmeshError(value: unknown): value is AmeshError {
  return (
    typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] !== undefined
  );
}
