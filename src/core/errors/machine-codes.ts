import { type CodeFacts, failure, refusal } from './code-facts';

/** The codes that come of files, of pairing and of tokens: a part of CODES, in its order. */
export const MACHINE_CODES = Object.freeze({
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
  folder_unsafe: refusal(
    503,
    'allow_list_unavailable',
    'Another user can replace the identity of this machine.',
    'Use a folder that belongs to this user, in folders that nobody else can write: AUTH_MESH_DIR.',
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
  store_busy: failure('Another process holds the lock.', 'Try again. No changes were made.'),
  store_conflict: failure(
    'The allow list was changed by somebody else at the same moment, again and again.',
    'Try again. No changes were made.',
  ),
  store_unsynced: failure(
    'The change was made, but the disk did not confirm it.',
    'Check the disk. See what is there now: amesh list',
  ),
  unknown_name: failure('No device in the allow list has this name or id.', 'See: amesh list'),
  name_taken: failure(
    'Another device has this name.',
    'Choose another name, or rename that one: amesh rename',
  ),
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
    'Use another host, or revoke that one first: amesh revoke NAME',
  ),

  // How pairing over a relay can end. Where it is not said otherwise, nothing has changed on either machine.
  relay_unreachable: failure(
    'The relay did not answer.',
    'On one network, amesh listen --serve needs none. Another relay: --relay URL. Without any: amesh trust export',
  ),
  relay_busy: failure('The relay is busy.', 'Try again in a minute, or use another relay: --relay URL'),
  code_expired: failure('No controller has used the code in time.', 'Run again: amesh listen'),
  code_not_found: failure(
    'The relay knows no such code, or no longer.',
    'Ask for a fresh one, and check that both machines use the same relay: if `amesh listen` shows a line with --relay, run all of it.',
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
    'If this caller is welcome, give it a new grant: amesh grant',
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
  unknown_token: failure('No token and no grant of this machine has this id or name.', 'See: amesh tokens'),
} satisfies Record<string, CodeFacts>);
