import { defineCodes } from '../../core/errors/define-codes';

/** Codes for a fault of this machine's identity, or a refused change of its allow list. */
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
    cause: "Another user can replace this machine's identity.",
    fix: 'Set AUTH_MESH_DIR to a folder that belongs to this user, inside folders that no other user can write to.',
  },
  unknown_name: {
    cause: 'No device in the allow list has this name or ID.',
    fix: 'See',
    command: ['amesh', 'list'],
  },
  ambiguous_name: {
    cause: 'Several devices match.',
    fix: 'Use the ID',
    command: ['amesh', 'list'],
  },
  malformed_trust_line: {
    cause: 'This line does not come from amesh trust export.',
    fix: 'Copy the whole line: amesh-p256 <key> <name>',
  },
  key_mismatch: {
    cause: 'The allow list has a device with this ID and another key.',
    fix: 'If the new key is right, revoke the old device first.',
  },
  key_replaced: {
    cause: 'The key of the device was rotated: another one has replaced it.',
    fix: 'Use the machine with the new key. If the former key is the right one, first revoke the device.',
  },
  no_rotation: {
    cause: 'No next key of this device waits to be accepted.',
    fix: 'It was accepted, refused or withdrawn in the meantime, or its 30 days are over. See',
    command: ['amesh', 'list'],
  },
  own_key: {
    cause: "This is this machine's own key.",
    fix: 'Paste the line of the other machine.',
  },
  host_taken: {
    cause: 'The host already belongs to another target.',
    fix: 'Use another host, or first run',
    command: ['amesh', 'revoke', 'NAME'],
  },
  too_many_scopes: {
    cause: 'The device would have more than 64 scopes.',
    fix: 'Use a wildcard instead of several scopes, such as orders:*',
  },
  scope_still_covered: {
    cause: 'A wildcard of the device covers this scope.',
    fix: 'Take the wildcard away too, and then allow what the device still needs.',
  },
  list_moved: {
    cause: 'The list was taken over by its next owner, so the key of this machine cannot change it any more.',
    fix: 'Change the list on the machine of the new owner.',
  },
  not_taken_over: {
    cause: 'This machine has the key of the next owner, but the former owner still seals the list.',
    fix: 'Change the list on the machine of the owner. Or take the list over',
    command: ['amesh', 'trust', 'take-over'],
  },
  not_next_owner: {
    cause: 'This machine does not have the key that may take the list over.',
    fix: 'Set AMESH_OWNER_KEY to two keys, first that of the owner and then that of this machine. Instances need both before the list is taken over.',
  },
  wrong_hand_over: {
    cause: 'This is not a hand-over from the owner of this list to the key of this machine.',
    fix: 'Make one on the machine of the owner, with the public key of this machine',
    command: ['amesh', 'trust', 'hand-over', 'KEY'],
  },
  list_full: {
    cause: 'The allow list is full.',
    fix: 'Revoke devices that are no longer used. A revoked ID leaves the list after 25 hours.',
  },
  token_revoked: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The token was cancelled.',
    fix: 'Make a new one with amesh provision or amesh grant.',
  },
  token_used_twice: {
    cause: 'The token was used twice: another machine registered with it before. Only the first is trusted.',
    fix: 'If both machines are yours, give the second one its own token. If not, find the first and revoke it',
    command: ['amesh', 'list'],
  },
  enrolment_refused: {
    status: 401,
    wire: 'unauthorized',
    cause: 'The target refuses this enrolment.',
    fix: 'If this caller should have access, give it a new grant: amesh grant',
  },
  grant_expired: {
    status: 403,
    wire: 'grant_expired',
    cause: 'The grant has expired and accepts no more callers.',
    fix: 'Make a new one on the target: amesh grant',
  },
  grant_used_up: {
    status: 403,
    wire: 'grant_used_up',
    cause: 'All uses of the grant are used up.',
    fix: 'Make a new one on the target: amesh grant --uses N',
  },
  unknown_token: {
    cause: 'This machine has no token or grant with this ID or name.',
    fix: 'See',
    command: ['amesh', 'tokens'],
  },
});
