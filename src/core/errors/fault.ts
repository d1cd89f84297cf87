import { isAmeshError, partsOf } from './amesh-error';
import type { RefusalCode } from './code-names';
import { SIGNATURE_CODES } from './codes';
import type { CodeFacts, Fix, RefusalFacts } from './define-codes';

/** Why a check refuses a request. It is a value and not an exception, since strangers can cause any number of faults. */
export class Fault {
  readonly code: RefusalCode;

  constructor(
    readonly facts: RefusalFacts,
    /** One sentence for the log. The log shortens quotes from the request. */
    readonly detail?: string,
    /** Replaces the general fix of the code. */
    readonly advice?: Fix,
  ) {
    this.code = facts.code;
  }
}

export function malformed(detail: string): Fault {
  return new Fault(SIGNATURE_CODES.malformed_header, detail);
}

/** Converts an error with a refusal code to a fault; null for any other error. */
export function toFault(error: unknown): Fault | null {
  if (!isAmeshError(error)) return null;
  const { facts, advice } = partsOf(error);
  return isRefusalFacts(facts) ? new Fault(facts, error.detail, advice) : null;
}

function isRefusalFacts(facts: CodeFacts): facts is RefusalFacts {
  return 'status' in facts;
}
