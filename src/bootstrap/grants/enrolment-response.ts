import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { toBodyStream } from '../../core/sign/outgoing/body';
import { isLate } from '../../core/sign/prove';
import { refusalOf } from '../../core/sign/refusal';
import { collect } from '../../core/wire/view';
import { TRUST_CODES } from '../../trust/errors/codes';
import { BOOTSTRAP_CODES } from '../errors/codes';

/** A usual response has about 100 bytes. */
export const MAX_ANSWER_BYTES = 4096;

/**
 * Reads the response to an enrolment. Over plain http, nothing proves who sent it. A web page that responds to every request does
 * not count as an acceptance.
 *
 * @param url where the enrolment was sent
 * @param ownId the device ID that the response must contain
 * @returns when the permission to call ends, according to the target; null if the response has no end
 * @throws AmeshError `grant_expired`, `grant_used_up`, `enrolment_refused`, `enrolment_failed`
 */
export async function readEnrolmentResponse(
  response: Response,
  url: URL,
  ownId: string,
): Promise<number | null> {
  let answer: { error?: unknown; deviceId?: unknown; expiresAt?: unknown } = {};
  try {
    const body = toBodyStream(response.body);
    const bytes = body === null ? new Uint8Array() : await collect(body, MAX_ANSWER_BYTES);
    answer = Object(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (error) {
    if (isAmeshError(error)) throw error; // the body is not the one that was signed
    // any other body is handled below
  }
  const { error, deviceId, expiresAt } = answer;
  if (response.status === 200 && deviceId === ownId)
    return Number.isSafeInteger(expiresAt) ? (expiresAt as number) : null;
  if (response.status === 403 && (error === 'grant_expired' || error === 'grant_used_up'))
    throw new AmeshError(TRUST_CODES[error]);
  if (isLate(response)) {
    throw new AmeshError(TRUST_CODES.enrolment_refused, 'The target refuses the time of this enrolment.', {
      fix: 'Set the clocks of both machines (NTP).',
    });
  }
  if (refusalOf(response) !== null) {
    throw new AmeshError(TRUST_CODES.enrolment_refused, undefined, {
      fix: "See the target's log for the reason. It enrols callers only with verify({ enroll: true }), and not by a revoked or closed grant. To make a new one: amesh grant",
    });
  }
  const said = typeof error === 'string' && /^[a-z_]{1,40}$/.test(error) ? ` ${error}` : '';
  throw new AmeshError(
    BOOTSTRAP_CODES.enrolment_failed,
    `${url.origin} responded to the enrolment with ${response.status}${said}.`,
  );
}
