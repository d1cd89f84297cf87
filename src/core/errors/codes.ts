import { MACHINE_CODES } from '#machine-codes';
import { type CodeFacts, failure, refusal } from './code-facts';

/**
 * Every reason for which amesh refuses or fails: one list for the wire, the log, `AmeshError.code` and the docs.
 *
 * `status` and `wire` say what a client sees of it (`wire` hides from strangers what is none of their business);
 * an entry without them never goes over the wire.
 *
 * Those that only a machine with files can come to have no texts on Workers, where their bytes would count.
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
    'The signature or a field that it covers is malformed, or doubled.',
    'Compare it with docs/protocol.md. A proxy may have added or doubled a header.',
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
    'If callers use it: amesh config hosts',
  ),
  wrong_target: refusal(
    401,
    'unauthorized',
    'The request is for another device.',
    'On the caller, see which device the host belongs to: amesh list',
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
    'Pair it: amesh listen here, and amesh invite on the caller',
  ),
  device_expired: refusal(401, 'unauthorized', 'The trust in this device has ended.', 'Pair it again.'),
  role_not_allowed: refusal(
    401,
    'unauthorized',
    'The device is known, but not as a controller: it may not call this machine.',
    'If it should: amesh listen here, and amesh invite on the caller',
  ),
  invalid_signature: refusal(
    401,
    'unauthorized',
    'The signature does not match the request as this server saw it.',
    'A proxy that rewrites host, path, query or a covered field is the usual cause: see "authority" and "pathPrefix" in docs/configuration.md.',
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
    'Something between the machines changes it, or the client signed another.',
  ),
  body_incomplete: refusal(
    400,
    'body_incomplete',
    'The connection ended before the body did.',
    'None: the client went away.',
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
    'Check that the folder or store is there and can be read.',
  ),
  nonce_store_unavailable: refusal(
    503,
    'nonce_store_unavailable',
    'The nonce store did not answer, or is full.',
    'Check the store. Without it no replay can be told.',
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

  ...MACHINE_CODES,
} satisfies Record<string, CodeFacts>);

/** A code of {@link CODES}: stable, snake_case, the same in logs, errors and docs. */
export type AmeshCode = keyof typeof CODES;

/** The codes for which a verifier refuses a request: the ones with a status. */
export type RejectCode = {
  [C in AmeshCode]: (typeof CODES)[C] extends {
    /** The HTTP status. */
    status: number;
  }
    ? C
    : never;
}[AmeshCode];
