import { defineCodes } from '../../core/errors/define-codes';

/** What is wrong with this machine's identity, or with a change of whom it trusts. */
export const TRUST_CODES = /* @__PURE__ */ defineCodes({
  no_identity: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'This machine has no amesh identity yet.',
    fix: 'Run',
    command: ['amesh', 'init', '--name', 'NAME'],
  },
  folder_unsafe: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'Another user can replace the identity of this machine.',
    fix: 'Set AUTH_MESH_DIR to a folder that belongs to this user, inside folders that no other user can write to.',
  },
  unknown_name: {
    cause: 'No device in the allow list has this name or id.',
    fix: 'See',
    command: ['amesh', 'list'],
  },
  name_taken: {
    cause: 'Another device has this name.',
    fix: 'Choose another name, or rename that one',
    command: ['amesh', 'rename'],
  },
  ambiguous_name: {
    cause: 'Several devices match.',
    fix: 'Use the id',
    command: ['amesh', 'list'],
  },
  malformed_trust_line: {
    cause: 'This is not a line that amesh trust export prints.',
    fix: 'Copy the whole line: amesh-p256 <key> <name>',
  },
  key_mismatch: {
    cause: 'A device with this id is in the allow list with another key.',
    fix: 'Revoke it first if you are sure.',
  },
  own_key: {
    cause: "This is this machine's own key.",
    fix: 'Paste the line of the other machine.',
  },
  host_taken: {
    cause: 'The host belongs to another target already.',
    fix: 'Use another host, or revoke that one first',
    command: ['amesh', 'revoke', 'NAME'],
  },
  token_revoked: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The token was cancelled.',
    fix: 'Make a new one with amesh provision or amesh grant.',
  },
  token_used_twice: {
    cause:
      'The token was used twice: another machine registered with it before. Only the first one is trusted.',
    fix: 'If both are yours, provision the second with a token of its own. If not, find the first and revoke it',
    command: ['amesh', 'list'],
  },
  enrolment_refused: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The target does not accept this enrolment.',
    fix: 'If this caller is welcome, give it a new grant: amesh grant',
  },
  grant_expired: {
    status: 403,
    wire: 'grant_expired',
    cause: 'The grant has expired: it takes no more callers.',
    fix: 'Make a new one on the target: amesh grant',
  },
  grant_used_up: {
    status: 403,
    wire: 'grant_used_up',
    cause: 'All uses of the grant are taken.',
    fix: 'Make a new one on the target: amesh grant --uses N',
  },
  unknown_token: {
    cause: 'No token or grant of this machine has this id or name.',
    fix: 'See',
    command: ['amesh', 'tokens'],
  },
});
