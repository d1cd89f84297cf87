import type { RejectCode } from './codes';

/** Why a step refuses a request. A value and not an exception, since strangers can cause as many as they like. */
export class Fault {
  constructor(
    readonly code: RejectCode,
    /** One sentence for the log; quotes of the request in it are cut short by whoever prints it. */
    readonly detail?: string,
  ) {}
}

export function malformed(detail: string): Fault {
  return new Fault('malformed_header', detail);
}
