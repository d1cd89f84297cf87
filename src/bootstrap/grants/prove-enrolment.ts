import { cryptoProvider } from '#crypto';
import { enrolmentNonce } from '../../core/answers/answer';
import { isUnproven, type Unproven } from '../../core/answers/verify-answer';
import { fromBase64Url, toUtf8 } from '../../core/encoding';
import { type AmeshError, AnswerUnprovenError, isAmeshError } from '../../core/errors/amesh-error';
import { asSentence } from '../../core/errors/define-codes';
import { isLate, prove, REMEMBERED_MS } from '../../core/sign/prove';
import type { GrantClaims } from '../tokens/token';
import { MAX_ANSWER_BYTES, readEnrolmentResponse } from './enrolment-response';

const FIX =
  'Check which program responds there. If its server has no key to sign answers, give it one (amesh answer-key), or let the grant say so (amesh grant --no-proofs).';

const LATE = 'its refusal of the time came more than 10 s after the enrolment was made';

/** An enrolment, and the response to it. */
export interface SentEnrolment {
  /** The text of its three parts. */
  readonly body: string;
  readonly response: Response;
  /** The time from the making of the enrolment to its response, in milliseconds. */
  readonly tookMs: number;
}

type Issuer = Pick<GrantClaims, 'iss' | 'key'>;

/**
 * Proves the answer to an enrolment with the key of the grant's issuer.
 *
 * @returns the same answer; its body is checked while it is read
 * @throws AnswerUnprovenError if anybody else may have sent it; AmeshError `enrolment_failed` if it is not an answer to an
 *   enrolment
 */
export async function proveEnrolment(
  sent: SentEnrolment,
  issuer: Issuer,
  url: URL,
  ownId: string,
): Promise<Response> {
  const { response } = sent;
  const result = await proveBy(sent, issuer, url);
  if (!isUnproven(result)) {
    if (!isLate(result) || isTimely(sent)) return result;
    throw unproven(url, response, LATE);
  }
  const claim = await readEnrolmentResponse(response, url, ownId).catch((error) => error);
  if (!isAmeshError(claim)) throw unproven(url, response, result); // it claims to accept the enrolment
  throw claim.code === 'enrolment_failed' ? claim : unproven(url, response, result, claim);
}

/** @returns a refusal of the time of an enrolment, if the issuer of the grant has proven it */
export async function provenTime(
  sent: SentEnrolment,
  issuer: Issuer,
  url: URL,
): Promise<Response | undefined> {
  const result = await proveBy(sent, issuer, url);
  return isUnproven(result) || !isTimely(sent) ? undefined : result;
}

/** Whether a target that refuses the time still remembers whether it has carried out the enrolment before. */
function isTimely({ tookMs }: SentEnrolment): boolean {
  return tookMs <= REMEMBERED_MS;
}

async function proveBy(
  { body, response }: SentEnrolment,
  { iss: deviceId, key }: Issuer,
  url: URL,
): Promise<Response | Unproven> {
  const publicKey = fromBase64Url(key) as Uint8Array;
  const expected = {
    method: 'POST',
    nonce: await enrolmentNonce(toUtf8(body), cryptoProvider),
    asksForPart: false,
    isConditional: false,
    nowMs: Date.now(),
    deviceId,
    key: await cryptoProvider.importPublicKey(publicKey),
    publicKey,
  };
  return prove(response, expected, {
    crypto: cryptoProvider,
    limitBytes: MAX_ANSWER_BYTES,
    allowsUnprovenBody: false,
    targetId: deviceId,
    unproven: (why) => unproven(url, response, why),
  });
}

function unproven(
  { origin }: URL,
  { status }: Response,
  why: Unproven,
  claim: AmeshError | null = null,
): AnswerUnprovenError {
  return new AnswerUnprovenError(
    `The response of ${origin} to the enrolment of this machine (${claim?.code ?? status}) is not proven: ${why}. The token is kept, and tried again later.`,
    { status, claims: claim?.code },
    claim === null ? FIX : `If it is genuine: ${claim.detail} ${asSentence(claim.fix)} ${FIX}`,
  );
}
