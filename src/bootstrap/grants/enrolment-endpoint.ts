import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { BODY_CODES } from '../../core/errors/codes';
import type { RequestView } from '../../core/wire/view';

/** Where a caller that holds a grant puts itself into a target's list. */
export const ENROLMENT_PATH = '/.well-known/amesh/enroll';

/** A usual one has some 600. */
const MAX_BYTES = 4096;

export function isEnrolment({ method, target }: RequestView): boolean {
  return method === 'POST' && target === ENROLMENT_PATH;
}

/**
 * The body of an enrolment. A stranger's, so it is short.
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
