import { momentText } from '../moment';
import { type AmeshCode, CODES } from './codes';

const BRAND = Symbol.for('amesh.error');

/**
 * The one error that amesh throws on purpose. `message` says the cause and then the fix; neither it nor `cause`
 * ever holds a key, a token, a header or a body. A wrong option is a plain `TypeError` instead.
 *
 * @see docs/errors.md
 */
export class AmeshError extends Error {
  /** The name of the class. */
  override readonly name: string = 'AmeshError';
  /** From the list in {@link CODES}; compare this, not the message. */
  readonly code: AmeshCode;
  /** What to do about it, in one sentence. */
  readonly fix: string;

  /**
   * An error with this code.
   *
   * @param code which failure; gives the texts where none are passed
   * @param detail replaces the general cause by a more precise one
   * @param options `fix` replaces the general fix; `cause` as for any Error
   */
  constructor(code: AmeshCode, detail?: string, options: { fix?: string | undefined; cause?: unknown } = {}) {
    const facts = CODES[code] ?? { cause: code, fix: 'See docs/errors.md.' }; // a code of another version, or place
    const fix = options.fix ?? facts.fix;
    super(`${detail ?? facts.cause} ${fix}`, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.fix = fix;
    Object.defineProperty(this, BRAND, { value: true });
  }
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
    super('redirect_refused', `${why} The server points to ${shown}.`);
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
      'clock_skew_too_large',
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
   * @param fix where putting the list back is not what helps
   */
  constructor(detail: string, fix?: string) {
    super('allow_list_integrity_failure', detail, fix === undefined ? {} : { fix });
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
   * @param cause what was thrown
   * @param fix where looking at the store is not what helps
   */
  constructor(detail?: string, cause?: unknown, fix?: string) {
    super('nonce_store_unavailable', detail, { cause, fix });
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
    'Wait until then, or restart: see "A clock that was set back" in docs/protocol.md.',
  );
}

/** `no_identity`: this machine has no device identity yet. */
export class NoIdentityError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'NoIdentityError';

  /**
   * The error for one folder.
   *
   * @param where the folder, or what else holds no identity
   */
  constructor(where: string) {
    super('no_identity', `There is no amesh identity in ${where}.`);
  }
}

/** Whether a value is an {@link AmeshError}, also one of another copy or realm of this package. */
export function isAmeshError(value: unknown): value is AmeshError {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] === true;
}
