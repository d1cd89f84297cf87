import { defineCodes } from './define-codes';

// One table for each part of the core, so that a bundle contains only the texts that its program can need.

/** Faults of a request that a client, too, refuses to sign. */
export const SIGNATURE_CODES = /* @__PURE__ */ defineCodes({
  malformed_header: {
    status: 400,
    wire: 'malformed_header',
    cause: 'The signature, or a field that it covers, is malformed or duplicated.',
    fix: 'Compare the request with docs/protocol.md. A proxy may have added or repeated a header.',
  },
  invalid_signature: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The signature does not match the request as this server saw it.',
    fix: 'The usual cause is a proxy that rewrites host, path, query or a covered field: see "authority" and "pathPrefix" in docs/configuration.md.',
  },
});

/** Faults of a request, in the order of the checks. */
export const REQUEST_CODES = /* @__PURE__ */ defineCodes({
  missing_header: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The request is not signed.',
    fix: 'Call with amesh.fetch or amesh curl. For a program that cannot sign: amesh proxy --to.',
  },
  unsupported_version: {
    status: 400,
    wire: 'unsupported_version',
    cause: 'The AuthMesh header has an unsupported version.',
    fix: 'Use the same major version of amesh on both machines.',
  },
  component_not_covered: {
    status: 400,
    wire: 'component_not_covered',
    cause: 'The signature does not cover a required part of the request.',
    fix: 'Cover every component that docs/protocol.md requires.',
  },
  wrong_host: {
    status: 421,
    wire: 'wrong_host',
    cause: 'The host of the request is not a host of this machine.',
    fix: 'If callers use it',
    command: ['amesh', 'config', 'hosts', '--add', 'HOST'],
  },
  wrong_target: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The request is for another device.',
    fix: 'On the caller, see which device the host belongs to: amesh list',
  },
  timestamp_out_of_range: {
    status: 401,
    wire: 'timestamp_out_of_range',
    cause: 'The request was signed too long ago, or in the future.',
    fix: 'Set both clocks (NTP). A request signed before this server or its Redis started is refused too.',
  },
  unknown_device: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The device is not in the allow list: never paired, or revoked.',
    fix: 'Pair it: run amesh listen here and amesh invite on the caller',
  },
  role_not_allowed: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The device is known, but not as a controller: it may not call this machine.',
    fix: 'If it should be one: run amesh listen here and amesh invite on the caller',
  },
  key_statement_invalid: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The statement in AuthMesh-Key does not make the key of this request a working key of the device.',
    fix: 'Check the clock of the caller (NTP) and restart it: its device signs a new statement. For a delegate, make a new one on its device: amesh delegate',
  },
  delegate_revoked: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The delegation was revoked here.',
    fix: 'If it should continue, make a new one on its device: amesh delegate',
  },
  replay_detected: {
    status: 401,
    wire: 'unauthorized',
    cause: 'This request has been seen before.',
    fix: 'Sign each attempt again; amesh.fetch does.',
  },
  device_expired: {
    status: 401,
    wire: 'device_expired',
    cause: 'The trust in this device has ended.',
    fix: 'Pair it again, or give it a later end.',
  },
  delegate_not_allowed: {
    status: 403,
    wire: 'delegate_not_allowed',
    cause: 'The route does not accept delegates.',
    fix: 'If it should: verify({ delegates: true }), or verify({ require }) with the scopes that it needs.',
  },
  scope_missing: {
    status: 403,
    wire: 'scope_missing',
    cause: 'The device does not have a scope that is required here.',
    fix: 'If it should have it',
    command: ['amesh', 'allow', 'DEVICE', 'SCOPE'],
  },
});

/** Faults of a body. Clients throw `payload_too_large`, too. */
export const BODY_CODES = /* @__PURE__ */ defineCodes({
  payload_too_large: {
    status: 413,
    wire: 'payload_too_large',
    cause: 'The body is larger than allowed.',
    fix: 'If such bodies are expected, raise maxBodyBytes.',
  },
  content_digest_missing: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The request has a body, but no Content-Digest.',
    fix: 'Send and sign Content-Digest: sha-256=:…:; amesh.fetch does.',
  },
  content_digest_mismatch: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The body is not the one that was signed.',
    fix: 'Look for a proxy that changes bodies, and check that the client sends the body it signs.',
  },
  body_incomplete: {
    status: 400,
    wire: 'body_incomplete',
    cause: 'The connection ended before the body did.',
    fix: 'Check the client and the network: one of them closed the connection early.',
  },
});

/** Faults of the server itself: it refuses every request until they are fixed. */
export const SERVER_CODES = /* @__PURE__ */ defineCodes({
  allow_list_integrity_failure: {
    status: 500,
    wire: 'allow_list_integrity_failure',
    cause: 'The allow list is not what its owner sealed.',
    fix: 'Restore the right allow_list.json, or start an empty list with',
    command: ['amesh', 'trust', 'reset'],
  },
  allow_list_unavailable: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The allow list cannot be read.',
    fix: 'Check that the folder or store exists and is readable.',
  },
  nonce_store_unavailable: {
    status: 503,
    wire: 'nonce_store_unavailable',
    cause: 'The nonce store did not respond, or is full.',
    fix: 'Check the store. Without it amesh cannot tell whether a request is a replay.',
  },
  body_parser_ordering_error: {
    status: 500,
    wire: 'body_parser_ordering_error',
    cause: 'A body parser before amesh.verify() kept no copy of the body.',
    fix: 'Put amesh.verify() before it, or use express.json({ verify: amesh.rawBody }), or rawBody: true in NestJS.',
  },
});

/** Errors of a client. */
export const CLIENT_CODES = /* @__PURE__ */ defineCodes({
  redirect_refused: {
    cause: 'The server sent a redirect that needs a new signature.',
    fix: 'Call the final URL.',
  },
  clock_skew_too_large: {
    cause: 'The clocks of the two machines are too far apart.',
    fix: 'Set the clock of the wrong one (NTP).',
  },
  answer_unproven: {
    cause: 'Nothing proves that this answer comes from the target.',
    fix: "Another program or a proxy may have answered or changed it, or no verify() stands before this URL, as with a 404. If the target cannot sign answers, call it over https, or with answers: 'off'.",
  },
  delegation_ended: {
    cause: 'The delegation of this program has ended.',
    fix: 'Make a new one, on the device that made it',
    command: ['amesh', 'delegate', '--help'],
  },
});
