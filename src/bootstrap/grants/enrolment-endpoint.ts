import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { BODY_CODES } from '../../core/errors/codes';
import type { RequestView } from '../../core/wire/view';

/** The path at which a caller with a grant adds itself to a target's list. */
export const ENROLMENT_PATH = '/.well-known/amesh/enroll';

/** A usual enrolment has about 600 bytes. */
const MAX_BYTES = 4096;

export function isEnrolment({ method, target }: RequestView): boolean {
  return method === 'POST' && target === ENROLMENT_PATH;
}

/**
 * Reads the body of an enrolment. It comes from a stranger, so its length is limited.
 *
 * @throws AmeshError `payload_too_large`, `body_incomplete`, `body_parser_ordering_error`
 */
export async function readEnrolmentBody({ body }: RequestView): Promise<Uint8Array> {
  try {
    const bytes = typeof body === 'function' ? await body(MAX_BYTES) : (body ?? new Uint8Array());
    if (bytes.length <= MAX_BYTES) return bytes;
  } catch (error) {
    if (isAmeshError(error)) throw error;
    throw new AmeshError(BODY_CODES.body_incomplete, undefined, { cause: error });
  }
  throw new AmeshError(BODY_CODES.payload_too_large, `The body is larger than ${MAX_BYTES} bytes.`);
}
