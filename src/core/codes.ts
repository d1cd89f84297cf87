/**
 * Every reason for which amesh refuses or fails: one list for the wire, the log, `AmeshError.code` and the docs.
 *
 * `status` and `wire` say what a client sees of it (`wire` hides from strangers what is none of their business);
 * an entry without them never goes over the wire.
 *
 * @see docs/errors.md
 */
export const CODES = Object.freeze({
  // What a verifier finds, in the order of its checks.
  missing_header: refusal(
    401,
    'unauthorized',
    'The request is not signed.',
    'Call with amesh.fetch, or see docs/protocol.md for other languages.',
  ),
  unsupported_version: refusal(
    400,
    'unsupported_version',
    'The AuthMesh header is of another version.',
    'Use the same major version of amesh on both machines.',
  ),
  malformed_header: refusal(
    400,
    'malformed_header',
    'The signature or a field that it covers is malformed, or stands there twice.',
    'Compare the request with docs/protocol.md. A proxy may have added or doubled a header.',
  ),
  component_not_covered: refusal(
    400,
    'component_not_covered',
    'The signature leaves out a part of the request that it has to cover.',
    'Cover every component that docs/protocol.md names.',
  ),
  wrong_host: refusal(
    421,
    'wrong_host',
    'The request is for a host that this machine does not answer to.',
    'If it is ours, run on this machine: amesh config hosts HOST',
  ),
  wrong_target: refusal(
    401,
    'unauthorized',
    'The request names another device in AuthMesh-Target.',
    'On the calling machine, check which device the host belongs to: amesh list',
  ),
  timestamp_out_of_range: refusal(
    401,
    'timestamp_out_of_range',
    'The request was signed too long ago, or in the future.',
    'Set both clocks (NTP). A request signed before this server or its Redis started is refused too.',
  ),
  unknown_device: refusal(
    401,
    'unauthorized',
    'The device is not in the allow list: never paired, or revoked.',
    'Pair it: amesh trust add --role controller "<what amesh trust export prints there>"',
  ),
  device_expired: refusal(401, 'unauthorized', 'The trust in this device has ended.', 'Pair it again.'),
  role_not_allowed: refusal(
    401,
    'unauthorized',
    'The device is known, but not as a controller: it may not call this machine.',
    'If it should: amesh trust add --role controller "<what amesh trust export prints there>"',
  ),
  invalid_signature: refusal(
    401,
    'unauthorized',
    'The signature does not match the request.',
    'A proxy that rewrites host, path, query or a covered field is the usual cause: see "authority" and "pathPrefix" in docs/guide.md.',
  ),
  replay_detected: refusal(
    401,
    'unauthorized',
    'This request has been seen before.',
    'Sign each attempt anew; amesh.fetch does.',
  ),
  payload_too_large: refusal(
    413,
    'payload_too_large',
    'The body is larger than allowed.',
    'Raise maxBodyBytes where such bodies are expected.',
  ),
  content_digest_missing: refusal(
    401,
    'unauthorized',
    'The request has a body, but no Content-Digest.',
    'Send Content-Digest: sha-256=:…: and sign it; amesh.fetch does.',
  ),
  content_digest_mismatch: refusal(
    401,
    'unauthorized',
    'The body is not the one that was signed.',
    'Something between the machines changes the body, or the client signed another one.',
  ),
  body_incomplete: refusal(
    400,
    'body_incomplete',
    'The connection ended before the body did.',
    'Nothing to do here: the client went away.',
  ),

  // What is wrong with the server itself: it refuses everybody until it is mended.
  allow_list_integrity_failure: refusal(
    500,
    'allow_list_integrity_failure',
    'The allow list is not as its owner sealed it.',
    'Put the right allow_list.json back, or start anew with: amesh trust reset',
  ),
  allow_list_unavailable: refusal(
    503,
    'allow_list_unavailable',
    'The allow list cannot be read.',
    'Check that the folder or store is there and readable for this process.',
  ),
  nonce_store_unavailable: refusal(
    503,
    'nonce_store_unavailable',
    'The nonce store did not answer, or is full.',
    'Check the store. Without it a replay cannot be told from a new request.',
  ),
  body_parser_ordering_error: refusal(
    500,
    'body_parser_ordering_error',
    'A body parser before amesh.verify() kept no copy of the bytes.',
    'Put amesh.verify() before it, or use express.json({ verify: amesh.rawBody }).',
  ),

  // What a client finds.
  redirect_refused: failure(
    'The server answered with a redirect that would need a new signature.',
    'Call the final URL.',
  ),
  clock_skew_too_large: failure(
    'The clocks of the two machines are too far apart.',
    'Set the clock of the wrong one (NTP).',
  ),

  // What the machine's own files or their user can do wrong.
  no_identity: refusal(
    503,
    'allow_list_unavailable',
    'This machine has no amesh identity yet.',
    'Run: amesh init --name NAME',
  ),
  no_file_system: failure(
    'There is no file system here.',
    'Use createClient() or createVerifier() of @authmesh/sdk/core with a key of your own.',
  ),
  identity_exists: failure(
    'This machine has an amesh identity already.',
    'Keep it, or replace it with --force; every pairing is then lost.',
  ),
  identity_unreadable: refusal(
    503,
    'allow_list_unavailable',
    'The identity on this machine cannot be read.',
    'Check the files of AUTH_MESH_DIR and who may read them.',
  ),
  passphrase_required: refusal(
    503,
    'allow_list_unavailable',
    'The private key is encrypted and no passphrase was given.',
    'Set AUTH_MESH_PASSPHRASE or AMESH_PASSPHRASE_FILE.',
  ),
  passphrase_wrong: refusal(
    503,
    'allow_list_unavailable',
    'The passphrase does not open the private key.',
    'Set the right AUTH_MESH_PASSPHRASE or AMESH_PASSPHRASE_FILE.',
  ),
  key_backend_unavailable: refusal(
    503,
    'allow_list_unavailable',
    'The key backend is not available on this machine.',
    'Use: amesh init --backend encrypted-file',
  ),
  store_busy: failure('Another process holds the lock.', 'Try again. Nothing was changed.'),
  store_conflict: failure(
    'The allow list was changed by somebody else at the same moment, again and again.',
    'Try again. Nothing was changed.',
  ),
  store_unsynced: failure(
    'The change was made, but the disk did not confirm it.',
    'Check the disk. See what is there now: amesh list',
  ),
  unknown_name: failure('No device in the allow list has this name or id.', 'See: amesh list'),
  ambiguous_name: failure('Several devices match.', 'Use the id: amesh list'),
  malformed_trust_line: failure(
    'This is not a line of amesh trust export.',
    'Copy the whole line: amesh-p256 <key> <name>',
  ),
  key_mismatch: failure(
    'A device with this id is in the allow list with another key.',
    'Revoke it first if you are sure.',
  ),
  own_key: failure('This is the key of this machine itself.', 'Paste the line of the other machine.'),
  host_taken: failure(
    'The host belongs to another target already.',
    'Revoke that one first, or use another host.',
  ),

  // How pairing over a relay can end. Where it is not said otherwise, nothing has changed on either machine.
  relay_unreachable: failure(
    'The relay did not answer.',
    'Another relay: --relay URL. One of your own: amesh relay. None at all: amesh trust export',
  ),
  relay_busy: failure('The relay is busy.', 'Try again in a minute, or use another relay: --relay URL'),
  code_expired: failure('No controller has used the code in time.', 'Run again: amesh listen'),
  code_not_found: failure(
    'The relay knows no such code, or no longer.',
    'Ask for a fresh one, and check that both machines use the same relay.',
  ),
  code_used: failure(
    'Somebody has used this code already.',
    'If it was not you, get a new one on the other machine: amesh listen',
  ),
  peer_gone: failure('The other machine is gone.', 'Start again, on both machines.'),
  codes_differ: failure(
    'The codes differ: a typing mistake, or someone is in the middle.',
    'This code is spent. Start again with: amesh listen',
  ),
  pairing_tampered: failure(
    'STOP: someone between the devices, possibly the relay, may be intercepting.',
    'Try a relay that you run: amesh relay',
  ),
  pairing_declined: failure('Somebody at the other machine said no.', 'Start again if that was a mistake.'),
  pairing_version: failure(
    'The two machines speak no version of the pairing in common.',
    'Update amesh on the older one.',
  ),
  pairing_unconfirmed: failure(
    'The other machine did not acknowledge.',
    'It is saved as unconfirmed here; the first answered request confirms it, or amesh invite again.',
  ),

  // What can be wrong with a bootstrap token, for the machine that was given it.
  token_malformed: refusal(
    503,
    'allow_list_unavailable',
    'This is no bootstrap token of amesh.',
    'Set AMESH_BOOTSTRAP_TOKEN to the whole line that amesh provision or amesh grant has printed.',
  ),
  token_wrong_algorithm: refusal(
    503,
    'allow_list_unavailable',
    'The token is not signed with ES256.',
    'Take one that amesh provision or amesh grant has printed, and no other.',
  ),
  token_wrong_type: refusal(
    503,
    'allow_list_unavailable',
    'The token is not of the kind that is needed here.',
    'A machine that is called needs a token of amesh provision, one that calls a token of amesh grant.',
  ),
  token_wrong_issuer: refusal(
    503,
    'allow_list_unavailable',
    'The token names an issuer to whom its key does not belong.',
    'Make a new one, and ask who has made this one.',
  ),
  token_invalid_signature: refusal(
    503,
    'allow_list_unavailable',
    'The signature of the token does not match: it was changed, or cut short.',
    'Copy it again, as a whole; if it stays so, make a new one.',
  ),
  token_lifetime_too_long: refusal(
    503,
    'allow_list_unavailable',
    'The token would count for longer than a day, which none may.',
    'Make a new one: amesh provision, or amesh grant.',
  ),
  token_not_yet_valid: refusal(
    503,
    'allow_list_unavailable',
    'The token was issued in the future, by the clock of this machine.',
    'Set both clocks (NTP).',
  ),
  token_expired: refusal(
    503,
    'allow_list_unavailable',
    'The token has expired.',
    'Make a new one: amesh provision, or amesh grant.',
  ),
  token_revoked: refusal(
    503,
    'allow_list_unavailable',
    'The token was taken back.',
    'Make a new one: amesh provision, or amesh grant.',
  ),
  token_used_twice: failure(
    'The token was used twice: another machine has registered with it before. Only the first one is trusted.',
    'If both are yours, provision the second with a token of its own. If not, revoke the first: amesh list',
  ),

  // How a caller that holds a grant can be turned away, for the target's log and for the caller.
  enrolment_malformed: refusal(
    400,
    'enrolment_malformed',
    'This is no enrolment of amesh.',
    'Enrol with amesh.fetch, of the same major version.',
  ),
  enrolment_refused: refusal(
    401,
    'unauthorized',
    'The target does not take this enrolment.',
    'See its log. If the grant was revoked, make a new one there: amesh grant',
  ),
  grant_expired: refusal(
    403,
    'grant_expired',
    'The grant takes no more callers: its time is over.',
    'Make a new one on the target: amesh grant',
  ),
  grant_used_up: refusal(
    403,
    'grant_used_up',
    'All uses of the grant are taken.',
    'Make a new one on the target: amesh grant --uses N',
  ),
  enrolment_failed: failure(
    'The target did not answer the enrolment.',
    'It answers where it runs amesh.verify({ enroll: true }) for the path /.well-known/amesh/enroll.',
  ),
  unknown_token: failure('No token and no grant of this machine has this id.', 'See: amesh tokens'),
} satisfies Record<string, CodeFacts>);

interface CodeFacts {
  readonly status?: number;
  readonly wire?: string;
  readonly cause: string;
  readonly fix: string;
}

function refusal<S extends number, W extends string>(status: S, wire: W, cause: string, fix: string) {
  return Object.freeze({ status, wire, cause, fix });
}

function failure(cause: string, fix: string) {
  return Object.freeze({ cause, fix });
}

/** A code of {@link CODES}: stable, snake_case, the same in logs, errors and docs. */
export type AmeshCode = keyof typeof CODES;

/** The codes for which a verifier refuses a request: the ones with a status. */
export type RejectCode = {
  [C in AmeshCode]: (typeof CODES)[C] extends { status: number } ? C : never;
}[AmeshCode];
