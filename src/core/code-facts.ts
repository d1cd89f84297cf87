/** What is known of a code. */
export interface CodeFacts {
  readonly status?: number;
  readonly wire?: string;
  readonly cause: string;
  readonly fix: string;
}

export function refusal<S extends number, W extends string>(status: S, wire: W, cause: string, fix: string) {
  return Object.freeze({ status, wire, cause, fix });
}

export function failure(cause: string, fix: string) {
  return Object.freeze({ cause, fix });
}
