import { momentText } from '../moment';
import type { AmeshCode } from './code-names';
import { CLIENT_CODES, SERVER_CODES } from './codes';
import { type CodeFacts, type Fix, writeFix } from './define-codes';

const BRAND = Symbol.for('amesh.error');

/** Replaces the general texts of a code with more precise ones. */
export interface AmeshErrorOptions {
  /** What to do about it. If a `command` follows, the text before it, without the colon. */
  readonly fix?: string | undefined;
  /** The command to type, as an array of arguments. */
  readonly command?: readonly string[] | undefined;
  /** As for every Error. */
  readonly cause?: unknown;
}

/**
 * The error class of amesh. `message` is `detail` and then `fix`. Neither it nor `cause` ever contains a key, a token, a
 * header or a body. A wrong option is a plain `TypeError` instead.
 *
 * @see docs/errors.md
 */
export class AmeshError extends Error {
  /** The name of the class. */
  override readonly name: string = 'AmeshError';
  /** One of the codes in `CODES`. Compare this, not the message. */
  readonly code: AmeshCode;
  /** The cause: one sentence. */
  readonly detail: string;
  /** What to do about it: one sentence, ending with the command if there is one. Empty if there is nothing to do. */
  readonly fix: string;
  /** The command to type, if there is one, as an array of arguments: `['amesh', 'list']`. */
  readonly command?: readonly string[];

  /**
   * Creates an error with a code.
   *
   * @param facts the entry of `CODES`; supplies the texts that are left out
   * @param detail replaces the general cause with a more precise one
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

/** The parts of an error. */
interface Parts {
  readonly facts: CodeFacts;
  readonly advice: Fix;
}

/** For an error that becomes another value, such as a frame or a fault. */
export function partsOf(error: AmeshError): Parts {
  return Reflect.get(error, BRAND);
}

/** `redirect_refused`: to follow the redirect would mean to sign a request that the caller did not ask for. */
export class RedirectRefusedError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'RedirectRefusedError';
  /** The redirect's target: an absolute URL. Unlike the message, it includes the query. */
  readonly location: string;

  /**
   * Creates the error for one redirect.
   *
   * @param location an absolute URL
   * @param why why it is not followed: one sentence
   */
  constructor(location: string, why: string) {
    const [shown] = location.split('?', 1); // the query may contain secrets, and messages are logged
    super(CLIENT_CODES.redirect_refused, `${why} It points to ${shown}.`);
    this.location = location;
  }
}

/** `clock_skew_too_large`: the server's clock is more than 30 s ahead of ours, or more than 300 s behind it. */
export class ClockSkewTooLargeError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'ClockSkewTooLargeError';
  /** The server's time minus ours, in whole seconds, rounded away from zero. */
  readonly differenceSeconds: number;

  /**
   * Creates the error for one server.
   *
   * @param authority the authority of that server
   * @param differenceSeconds its time minus ours
   */
  constructor(authority: string, differenceSeconds: number) {
    const isAhead = differenceSeconds > 0;
    super(
      CLIENT_CODES.clock_skew_too_large,
      `The clock of ${authority} is ${Math.abs(differenceSeconds)} s ${isAhead ? 'ahead of' : 'behind'} this machine's clock.`,
      isAhead ? { fix: "Set this machine's clock (NTP): amesh signs at most 30 s ahead of it." } : {},
    );
    this.differenceSeconds = differenceSeconds;
  }
}

/**
 * `answer_unproven`: an answer that had to be proven is not, or its body is not. If anything was sent, the target may have carried
 * out the request.
 */
export class AnswerUnprovenError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'AnswerUnprovenError';
  /**
   * The status of the answer, which anybody may have sent; undefined if nothing was sent, since nobody could have proven the
   * answer.
   */
  readonly status: number | undefined;
  /** The code of the refusal that the answer claims to be, such as `unauthorized`; undefined if it claims to be none. */
  readonly claims: string | undefined;
  /** Whether the reason is that a key of the target has named two next keys, so that somebody else has that key, too. */
  readonly namesTwoKeys: boolean;

  /**
   * Creates the error for one answer.
   *
   * @param detail why it is not proven
   * @param answer its status, the refusal that it claims to be, and whether a key of its target has named two next keys
   * @param fix replaces the general fix
   */
  constructor(
    detail: string,
    {
      status,
      claims,
      namesTwoKeys = false,
    }: Partial<Pick<AnswerUnprovenError, 'status' | 'claims' | 'namesTwoKeys'>> = {},
    fix?: string,
  ) {
    super(CLIENT_CODES.answer_unproven, detail, { fix });
    this.status = status;
    this.claims = claims;
    this.namesTwoKeys = namesTwoKeys;
  }
}

/** `allow_list_integrity_failure`: the allow list is not what its owner sealed. It is never repaired silently. */
export class AllowListIntegrityError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'AllowListIntegrityError';

  /**
   * Creates the error for one list.
   *
   * @param detail what is wrong with it: one sentence
   * @param options `fix` and `command`, if restoring the list is not the fix
   */
  constructor(detail: string, options?: AmeshErrorOptions) {
    super(SERVER_CODES.allow_list_integrity_failure, detail, options);
  }
}

/** `nonce_store_unavailable`: a nonce store could not tell whether a nonce is new. */
export class NonceStoreUnavailableError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'NonceStoreUnavailableError';

  /**
   * Creates the error for one store.
   *
   * @param detail what is wrong with it: one sentence
   * @param cause what the store threw
   * @param advice `fix` and `command`, if checking the store is not the fix
   */
  constructor(detail?: string, cause?: unknown, advice?: Fix) {
    super(SERVER_CODES.nonce_store_unavailable, detail, { cause, ...advice });
  }
}

/**
 * The error if the clock was set back to a time whose nonces the store has already dropped.
 *
 * @param untilMs the last moment of that time, Unix milliseconds
 */
export function clockSetBack(untilMs: number): NonceStoreUnavailableError {
  return new NonceStoreUnavailableError(
    `The clock was set back to a time whose nonces are forgotten. That time ends at ${momentText(untilMs)}.`,
    undefined,
    { fix: 'Wait until then, or restart: see "A clock that was set back" in docs/protocol.md.' },
  );
}

/**
 * The fix of an error, with its command written for the place that shows it.
 *
 * @param write turns the command into text
 */
export function fixWith(error: AmeshError, write: (command: readonly string[]) => string): string {
  return writeFix(partsOf(error).advice, write);
}

/** Whether a value is an {@link AmeshError} of this package, or of another copy or realm of it. */
export function isAmeshError(value: unknown): value is AmeshError {
  return (
    typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] !== undefined
  );
}
