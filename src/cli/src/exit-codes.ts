/**
 * What the process exits with. Stable: scripts branch on it.
 *
 * 3 to 7 belong to pairing over a relay (unreachable, code unusable, peer gone, codes differ, tampering).
 */
export const EXIT = Object.freeze({
  ok: 0,
  failure: 1,
  usage: 2,
  declined: 8,
  busy: 9,
  noIdentity: 10,
  interrupted: 130,
});

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The codes of the SDK that do not exit with {@link EXIT.failure}. */
export const EXIT_OF_CODE: Readonly<Record<string, ExitCode>> = Object.freeze({
  ambiguous_name: EXIT.usage,
  malformed_trust_line: EXIT.usage,
  no_identity: EXIT.noIdentity,
  store_busy: EXIT.busy,
  store_conflict: EXIT.busy,
});
