import { AmeshError, isAmeshError } from './errors';
import type { FreshnessOptions } from './freshness';
import type { NonceStore } from './nonce-memory';
import type { RequestView } from './view';

/** Where a caller that holds a grant puts itself into a target's list. */
export const ENROLMENT_PATH = '/.well-known/amesh/enroll';

/** A usual one has some 600. */
const MAX_ENROLMENT_BYTES = 4096;

/** An enrolment as it came, from whomever. */
export interface EnrolmentRequest {
  /** The host of this machine under which it came, which is checked and in normal form. */
  readonly authority: string;
  /** At most 4096 bytes. */
  readonly body: Uint8Array;
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly settings: FreshnessOptions;
  readonly nonceStore: NonceStore;
}

/**
 * Answers enrolments.
 *
 * @returns what the caller gets as JSON
 * @throws AmeshError whose code is a refusal
 */
export type Enroller = (request: EnrolmentRequest) => Promise<object>;

export function isEnrolment({ method, target }: RequestView): boolean {
  return method === 'POST' && target === ENROLMENT_PATH;
}

/**
 * The body of an enrolment. A stranger's, so it is short.
 *
 * @throws AmeshError `payload_too_large`, `body_incomplete`, `body_parser_ordering_error`
 */
export async function readEnrolment({ body }: RequestView): Promise<Uint8Array> {
  try {
    const bytes = typeof body === 'function' ? await body(MAX_ENROLMENT_BYTES) : (body ?? new Uint8Array());
    if (bytes.length <= MAX_ENROLMENT_BYTES) return bytes;
  } catch (error) {
    if (isAmeshError(error)) throw error;
    throw new AmeshError('body_incomplete', undefined, { cause: error });
  }
  throw new AmeshError('payload_too_large', `The body is larger than ${MAX_ENROLMENT_BYTES} bytes.`);
}
