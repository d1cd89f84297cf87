import { cryptoProvider } from '#crypto';
import { enrolmentNonce } from '../../core/answers/answer';
import { isUnproven, type Unproven } from '../../core/answers/verify-answer';
import { fromBase64Url, toUtf8 } from '../../core/encoding';
import { type AmeshError, AnswerUnprovenError, isAmeshError } from '../../core/errors/amesh-error';
import { prove } from '../../core/sign/prove';
import type { GrantClaims } from '../tokens/token';
import { MAX_ANSWER_BYTES, readEnrolmentResponse } from './enrolment-response';

const FIX =
  'Check which program answers there. If its server has no key to sign answers, give it one (amesh answer-key), or let the grant say so (amesh grant --no-proofs).';

/** An enrolment, and what came back. */
export interface SentEnrolment {
  /** The text of its three parts. */
  readonly body: string;
  readonly response: Response;
}

/**
 * Proves the answer to an enrolment with the key of the grant's issuer.
 *
 * @returns the same answer; its body is checked while it is read
 * @throws AnswerUnprovenError if anybody else may have sent it; AmeshError `enrolment_failed` if it is no answer to an enrolment
 */
export async function proveEnrolment(
  { body, response }: SentEnrolment,
  { iss: deviceId, key }: Pick<GrantClaims, 'iss' | 'key'>,
  url: URL,
  ownId: string,
): Promise<Response> {
  const { status } = response;
  const unproven = (why: Unproven, claim: AmeshError | null = null) =>
    new AnswerUnprovenError(
      `The answer of ${url.origin} to the enrolment of this machine (${claim?.code ?? status}) is not proven: ${why}. The token is kept, and tried again later.`,
      { status, claims: claim?.code },
      claim === null ? FIX : `If it is genuine: ${claim.detail} ${claim.fix} ${FIX}`,
    );
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
  const result = await prove(response, expected, {
    crypto: cryptoProvider,
    limitBytes: MAX_ANSWER_BYTES,
    allowsUnprovenBody: false,
    targetId: deviceId,
    unproven,
  });
  if (!isUnproven(result)) return result;
  const claim = await readEnrolmentResponse(response, url, ownId).catch((error) => error);
  if (!isAmeshError(claim)) throw unproven(result); // it says yes
  throw claim.code === 'enrolment_failed' ? claim : unproven(result, claim);
}
