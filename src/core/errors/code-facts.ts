/** What is known of a code. */
export interface CodeFacts {
  readonly status?: number;
  readonly wire?: string;
  readonly cause: string;
  readonly fix: string;
}

export function refusal<S extends number, W extends string>(status: S, wire: W, cause: string, fix: string) {
  return Object.freeze({
    /** The HTTP status of the refusal. */
    status,
    /** The code that the client sees; often less than the code itself. */
    wire,
    /** The cause in general, one sentence. */
    cause,
    /** What to do about it in general, one sentence. */
    fix,
  });
}

export function failure(cause: string, fix: string) {
  return Object.freeze({
    /** The cause in general, one sentence. */
    cause,
    /** What to do about it in general, one sentence. */
    fix,
  });
}
