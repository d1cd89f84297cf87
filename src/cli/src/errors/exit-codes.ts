/** The exit codes of the process. They are stable: scripts depend on them. */
export const EXIT = Object.freeze({
  ok: 0,
  failure: 1,
  usage: 2,
  relayUnreachable: 3,
  codeUnusable: 4,
  peerGone: 5,
  codesDiffer: 6,
  tampering: 7,
  declined: 8,
  busy: 9,
  noIdentity: 10,
  no: 11,
  interrupted: 130,
});

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The SDK's codes with another exit code than {@link EXIT.failure}. */
export const EXIT_OF_CODE: Readonly<Record<string, ExitCode>> = Object.freeze({
  ambiguous_name: EXIT.usage,
  malformed_trust_line: EXIT.usage,
  no_identity: EXIT.noIdentity,
  store_busy: EXIT.busy,
  store_conflict: EXIT.busy,
  relay_unreachable: EXIT.relayUnreachable,
  relay_busy: EXIT.busy,
  code_expired: EXIT.codeUnusable,
  code_not_found: EXIT.codeUnusable,
  code_used: EXIT.codeUnusable,
  peer_gone: EXIT.peerGone,
  codes_differ: EXIT.codesDiffer,
  pairing_tampered: EXIT.tampering,
  pairing_declined: EXIT.declined,
  pairing_unconfirmed: EXIT.peerGone,
});
