import { andThen } from '../and-then';
import type { CryptoProvider, MaybePromise } from '../crypto/provider';
import { toBase64Url, toSlab } from '../encoding';
import { readPlainDigest } from '../wire/digest';
import { fieldValue, type HeaderLines } from '../wire/view';

/** The signed part of an answer without its body: what `signAnswer()` gets, and what a client has received. */
export interface AnswerView {
  /** The HTTP status. */
  readonly status: number;
  /** All headers by lower-case name. `set-cookie` has one entry for each line. */
  readonly headers: HeaderLines;
}

/** The tag of a signed answer. */
export const ANSWER_TAG = 'amesh-answer';

/**
 * The value of `Accept-Signature` with which a client asks for a signed answer.
 *
 * @see RFC 9421 section 5.1
 */
export const ASK = 'amesh=("@status");created;nonce;keyid;tag="amesh-answer"';

export const ACCEPT_SIGNATURE = 'accept-signature';
/** Says that the signature of an answer does not cover its body: the end of the body was not known when the head was sent. */
export const BODY_HEADER = 'authmesh-body';
/** The answer key of a target whose own key does not sign answers itself. */
export const KEY_HEADER = 'authmesh-key';
export const DIGEST_HEADER = 'unencoded-digest';

/** The fields that a signature must cover if the answer has them, in addition to every field of amesh. */
const FIELDS = [
  'content-type',
  DIGEST_HEADER,
  'location',
  'www-authenticate',
  'retry-after',
  'etag',
  'link',
  'set-cookie',
  'content-range',
  'age',
] as const;

/** Whether a request asks for a signed answer. Its signature covers the field, so nobody else can have added it. */
export function asksForProof(headers: HeaderLines): boolean {
  const value = fieldValue(headers, ACCEPT_SIGNATURE);
  return (
    value !== undefined && (value === ASK || /;[ \t]*tag="amesh-answer"(?=[ \t]*(?:[;,]|$))/.test(value))
  );
}

const FIELD_SET: ReadonlySet<string> = new Set(FIELDS);

/** Whether a signature must cover a field of an answer. `name` is lower case. */
export function mayBeCovered(name: string): boolean {
  return FIELD_SET.has(name) || name.startsWith('authmesh-');
}

/** The fields of an answer that its signature must cover, in the order in which amesh covers them. */
export function coveredFields(headers: HeaderLines): string[] {
  const has = (name: string) => fieldValue(headers, name) !== undefined;
  const own = Object.keys(headers).filter((name) => name.startsWith('authmesh-') && has(name));
  return [...FIELDS.filter(has), ...own.sort()];
}

/**
 * Whether an answer has a digest of its body that callers can check: exactly one SHA-256, in the form that they read. Any other
 * digest is removed before the answer is signed.
 */
export function hasDigest(headers: HeaderLines): boolean {
  const value = fieldValue(headers, DIGEST_HEADER);
  return value !== undefined && readPlainDigest(value) !== null;
}

/** Whether an answer can have a body: an answer to HEAD has none, nor has one with a status such as 204. */
export function mayHaveBody(method: string, status: number): boolean {
  return method !== 'HEAD' && status !== 204 && status !== 304;
}

/** What binds an answer to an enrolment: the hash of the text of its three parts. 43 characters. */
export function enrolmentNonce(
  body: Uint8Array,
  crypto: Pick<CryptoProvider, 'sha256'>,
): MaybePromise<string> {
  return andThen(crypto.sha256(body), toBase64Url);
}

/**
 * What binds an answer to its request: the hash of the request's signature base, a line feed, and the 64 bytes of its
 * signature. The method and nonce alone are not enough: another caller could send the same ones, and pass on its own answer.
 *
 * @returns 43 characters
 */
export function answerNonce(
  base: string,
  signature: Uint8Array,
  crypto: Pick<CryptoProvider, 'sha256'>,
): MaybePromise<string> {
  return andThen(crypto.sha256(toSlab(`${base}\n`, signature)), toBase64Url);
}
