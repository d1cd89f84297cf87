import type { NonceStore } from '../nonces/nonce-store';
import type { RequestView } from '../wire/view';
import type { FreshnessOptions } from './freshness';

/** An enrolment request of an unknown caller. */
export interface EnrolmentRequest {
  /** The request itself. None of it is verified yet. */
  readonly view: RequestView;
  /** The host to which it was sent: one of this machine's hosts, in normal form. */
  readonly authority: string;
  /** The clock, Unix milliseconds. The age of an enrolment is measured when its last byte arrives. */
  readonly now: () => number;
  /** The verifier's settings for times. */
  readonly settings: FreshnessOptions;
  /** Where to claim the nonce of the enrolment. */
  readonly nonceStore: NonceStore;
  /** Whether the caller asks for a proof, and this verifier signs answers. */
  readonly isAsked: boolean;
  /** Called with the text of the three parts as soon as the answer may be signed, and with null when it may no longer be signed. */
  readonly sign: (body: Uint8Array | null) => void;
}

/** Answers enrolments. It is a hook, so that bundles without files do not contain it. */
export interface Enroller {
  /** Whether a request is an enrolment. */
  matches(view: RequestView): boolean;
  /**
   * @returns the JSON for the caller
   * @throws AmeshError with a refusal code
   */
  answer(request: EnrolmentRequest): Promise<object>;
}
