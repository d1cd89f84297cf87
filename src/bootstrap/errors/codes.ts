import { defineCodes } from '../../core/errors/define-codes';

/** Codes for faults of a bootstrap token or an enrolment. */
export const BOOTSTRAP_CODES = /* @__PURE__ */ defineCodes({
  token_malformed: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'This is not an amesh bootstrap token.',
    fix: 'Set AMESH_BOOTSTRAP_TOKEN to the whole line that amesh provision or amesh grant printed.',
  },
  token_wrong_algorithm: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The token is not signed with ES256.',
    fix: 'Use a token that amesh provision or amesh grant printed.',
  },
  token_wrong_type: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'This kind of token is not for this machine.',
    fix: 'A machine that receives requests needs a token of amesh provision; a machine that sends requests needs one of amesh grant.',
  },
  token_wrong_issuer: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The key in the token does not match the issuer in the token.',
    fix: 'Create a new token, and find out who created this one.',
  },
  token_invalid_signature: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The signature of the token does not match: the token was changed or cut short.',
    fix: 'Copy the whole token again. If that does not help, create a new one.',
  },
  token_lifetime_too_long: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The token would be valid for more than a day, which amesh does not accept.',
    fix: 'Make a new one with amesh provision or amesh grant.',
  },
  token_not_yet_valid: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: "By this machine's clock, the token was issued in the future.",
    fix: 'Set both clocks (NTP).',
  },
  token_expired: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The token has expired.',
    fix: 'Make a new one with amesh provision or amesh grant.',
  },
  enrolment_malformed: {
    status: 400,
    wire: 'enrolment_malformed',
    cause: 'This is not an amesh enrolment.',
    fix: 'Enrol with amesh.fetch of the same major version.',
  },
  enrolment_failed: {
    cause: 'The target did not accept the enrolment.',
    fix: 'Check that it runs amesh.verify({ enroll: true }) for the path /.well-known/amesh/enroll.',
  },
});
