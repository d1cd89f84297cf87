import { isAmeshError } from './amesh-error';
import { CODES, type RejectCode } from './codes';

/** Why a step refuses a request. A value and not an exception, since strangers can cause as many as they like. */
export class Fault {
  constructor(
    readonly code: RejectCode,
    /** One sentence for the log; quotes of the request in it are cut short by whoever prints it. */
    readonly detail?: string,
    /** Where the general fix of the code is not the best advice. */
    readonly fix?: string,
  ) {}
}

export function malformed(detail: string): Fault {
  return new Fault('malformed_header', detail);
}

/** An error that stands for a refusal as a fault; null for any other. */
export function toFault(error: unknown): Fault | null {
  if (!isAmeshError(error) || !('status' in (CODES[error.code] ?? {}))) return null;
  return new Fault(
    error.code as RejectCode,
    error.message.slice(0, error.message.length - error.fix.length).trim(),
    error.fix,
  );
}
