import { isAmeshError, partsOf } from './amesh-error';
import type { RefusalCode } from './code-names';
import { REQUEST_CODES } from './codes';
import type { CodeFacts, Fix, RefusalFacts } from './define-codes';

/** Why a step refuses a request. A value and not an exception, since strangers can cause as many as they like. */
export class Fault {
  readonly code: RefusalCode;

  constructor(
    readonly facts: RefusalFacts,
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
  return isRefusalFacts(facts) ? new Fault(facts, error.detail, advice) : null;
}

function isRefusalFacts(facts: CodeFacts): facts is RefusalFacts {
  return 'status' in facts;
}
