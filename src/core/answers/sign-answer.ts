import { andThen } from '../and-then';
import type { CryptoProvider, MaybePromise } from '../crypto/provider';
import { toBase64, toSlab } from '../encoding';
import { contentDigest } from '../wire/digest';
import { fieldValue, type HeaderLines } from '../wire/view';
import {
  type AnswerView,
  BODY_HEADER,
  coveredFields,
  DIGEST_HEADER,
  hasDigest,
  KEY_HEADER,
  mayBeCovered,
  mayHaveBody,
} from './answer';
import { answerParameters, createAnswerBase } from './base';
import { SUCCESSION_HEADER } from './succession';

/** Signs answers: with the key of a target itself, or with an answer key that the target has signed a statement about. */
export interface AnswerSigner {
  /** The ID of the target: the `keyid` of its answers. */
  readonly deviceId: string;
  /** The statement about an answer key, sent and signed as AuthMesh-Key; absent if the target's own key signs. */
  readonly statement?: string | undefined;
  /** The statement with which the former key of the target named this one, sent and signed as AuthMesh-Succession. */
  readonly succession?: string | undefined;
  /**
   * Signs with ECDSA over SHA-256.
   *
   * @returns 64 bytes, r‖s
   */
  sign(message: Uint8Array): MaybePromise<Uint8Array>;
}

/** An answer that is about to be sent. */
export interface UnsignedAnswer extends AnswerView {
  /** The bytes before any content coding; null for a stream, whose bytes nobody knows yet. */
  readonly body: Uint8Array | null;
}

/** What an answer needs to know about its request. */
export interface AnsweredBy {
  /** Its method. */
  readonly method: string;
  /** 43 characters, see `answerNonce()`. */
  readonly nonce: string;
}

/**
 * Signs an answer.
 *
 * @param created Unix seconds
 * @returns the headers to set on the answer, by lower-case name
 * @throws TypeError if the answer cannot be signed: a covered field is not plain ASCII; what the signer throws
 * @see docs/protocol.md, "Proven answers"
 */
export function signAnswer(
  answer: UnsignedAnswer,
  request: AnsweredBy,
  signer: AnswerSigner,
  created: number,
  crypto: Pick<CryptoProvider, 'sha256'>,
): MaybePromise<Record<string, string>> {
  const { status, headers, body } = answer;
  if (!mayHaveBody(request.method, status) || hasDigest(headers))
    return signWith({}, answer, request, signer, created);
  if (body === null) return signWith({ [BODY_HEADER]: 'unsigned' }, answer, request, signer, created);
  // The digest is of the content, so compressing the answer does not change it.
  return andThen(contentDigest(body, crypto), (digest) =>
    signWith({ [DIGEST_HEADER]: digest }, answer, request, signer, created),
  );
}

/** @param added the headers about the body; the others are added to them */
function signWith(
  added: Record<string, string>,
  { status, headers }: UnsignedAnswer,
  { nonce }: AnsweredBy,
  signer: AnswerSigner,
  created: number,
): MaybePromise<Record<string, string>> {
  if (signer.statement !== undefined) added[KEY_HEADER] = signer.statement;
  if (signer.succession !== undefined) added[SUCCESSION_HEADER] = signer.succession;
  const all = withAdded(headers, added);
  const covered = coveredFields(all);
  const parameters = answerParameters(covered, { created, nonce, deviceId: signer.deviceId });
  const base = createAnswerBase({ status, headers: all }, covered, parameters);
  if (base === null) throw new TypeError('This answer cannot be signed: a covered field is not plain ASCII.');
  added['signature-input'] = `${othersOf(headers, 'signature-input')}amesh=${parameters}`;
  const others = othersOf(headers, 'signature');
  const write = (signature: Uint8Array) => {
    if (signature.length !== 64) throw new TypeError('The signature of the signer is not 64 bytes long.');
    added.signature = `${others}amesh=:${toBase64(signature)}:`;
    return added;
  };
  const signature = signer.sign(toSlab(base));
  // Other people write signers, too, which may return any kind of promise.
  return signature instanceof Uint8Array ? write(signature) : Promise.resolve(signature).then(write);
}

/** Only the headers that may be covered: copying the others takes longer than hashing the body. */
function withAdded(headers: HeaderLines, added: Readonly<Record<string, string>>): HeaderLines {
  const all: Record<string, string | readonly string[] | undefined> = {};
  for (const name in headers) if (mayBeCovered(name)) all[name] = headers[name];
  for (const name in added) all[name] = added[name];
  return all;
}

/**
 * What stays in front of our member: another party's signature. A signature of amesh does not stay: it belongs to the answer of
 * another target, which a handler has passed on.
 */
function othersOf(headers: HeaderLines, name: string): string {
  const others = fieldValue(headers, name)
    ?.replace(OURS, '')
    .replace(/^[ \t]*,[ \t]*/, '');
  return others ? `${others}, ` : '';
}

const OURS = /(?:^|,)[ \t]*amesh=(?:"[^"]*"|[^",])*/g;
