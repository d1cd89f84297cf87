import { isAmeshError, partsOf } from './amesh-error';
import type { RejectCode } from './code-names';
import { REQUEST_CODES } from './codes';
import type { CodeFacts, Fix, RejectFacts } from './define-codes';

/** Why a step refuses a request. A value and not an exception, since strangers can cause as many as they like. */
export class Fault {
  readonly code: RejectCode;

  constructor(
    readonly facts: RejectFacts,
    /** One sentence for the log; quotes of the request in it are cut short by whoever prints it. */
    readonly detail?: string,
    /** Where the general fix of the code is not the best advice. */
    readonly advice?: Fix,
  ) {
    this.code = facts.code;
  }
}

export function malformed(detail: string): Fault {
  return new Fault(REQUEST_CODES.malformed_header, detail);
}

/** An error that stands for a refusal as a fault; null for any other. */
export function toFault(error: unknown): Fault | null {
  if (!isAmeshError(error)) return null;
  const { facts, advice } = partsOf(error);
  return isRejectFacts(facts) ? new Fault(facts, error.detail, advice) : null;
}

function isRejectFacts(facts: CodeFacts): facts is RejectFacts {
  return 'status' in facts;
}
