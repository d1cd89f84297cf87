import type { NonceStore } from '../nonces/nonce-store';
import type { RequestView } from '../wire/view';
import type { FreshnessOptions } from './freshness';

/** An enrolment as it came, from whomever. */
export interface EnrolmentRequest {
  /** The request itself. Nothing of it is verified yet. */
  readonly view: RequestView;
  /** The host of this machine under which it came, which is checked and in normal form. */
  readonly authority: string;
  /** The clock, Unix milliseconds. An enrolment is as old as it is when its last byte has come. */
  readonly now: () => number;
  /** The settings of the verifier by which time is judged. */
  readonly settings: FreshnessOptions;
  /** Where the nonce of the enrolment is claimed. */
  readonly nonceStore: NonceStore;
}

/** Answers enrolments. What has files of its own brings it along, so that nobody else carries it. */
export interface Enroller {
  /** Whether a request is an enrolment. */
  matches(view: RequestView): boolean;
  /**
   * @returns what the caller gets as JSON
   * @throws AmeshError whose code is a refusal
   */
  answer(request: EnrolmentRequest): Promise<object>;
}
