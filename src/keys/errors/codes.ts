import { defineCodes } from '../../core/errors/define-codes';

/** Codes for a private key that cannot be opened. */
export const KEY_CODES = /* @__PURE__ */ defineCodes({
  passphrase_required: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The private key is encrypted, and no passphrase was supplied.',
    fix: 'Set AUTH_MESH_PASSPHRASE or AMESH_PASSPHRASE_FILE.',
  },
  passphrase_wrong: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The passphrase does not open the private key.',
    fix: 'Set the right AUTH_MESH_PASSPHRASE or AMESH_PASSPHRASE_FILE.',
  },
  pin_required: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The private key has a PIN, and none was supplied.',
    fix: 'Set AMESH_PIN or AMESH_PIN_FILE.',
  },
  pin_wrong: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The PIN does not open the private key.',
    fix: 'Set the right AMESH_PIN or AMESH_PIN_FILE.',
  },
  key_locked: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The hardware that holds the private key has locked itself after too many wrong PINs.',
    fix: 'Set the right PIN, and wait.',
  },
  keychain_locked: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The keychain of this user is locked, and amesh asks nobody to unlock it.',
    fix: 'Unlock it, or log in to the desktop of this user.',
  },
  key_lost: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The hardware or keychain of this machine does not hold the private key.',
    fix: 'If you made a second key (amesh init --next), take the list over: see docs/keys.md. Otherwise create a new identity, and pair again',
    command: ['amesh', 'init', '--name', 'NAME', '--force'],
  },
  key_absent: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The SSH agent does not have the private key.',
    fix: 'Add the key to the agent again',
    command: ['ssh-add', 'FILE'],
  },
  key_refused: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The SSH agent refused to sign.',
    fix: 'Confirm it when the agent asks, by a touch, a PIN or in its window. A key with destinations (ssh-add -h) signs for ssh only: add it without them.',
  },
  key_not_chosen: {
    cause: 'The SSH agent has no key, or several, that this machine could use.',
    fix: 'Choose one by its fingerprint or its comment',
    command: ['amesh', 'init', '--name', 'NAME', '--backend', 'ssh-agent', '--key', 'SHA256:…'],
  },
  signer_required: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'This needs a signature, but the private key is outside amesh.',
    fix: 'Do it in a program with createAmesh({ signer }), or openDevice() and a signer: see docs/keys.md.',
  },
  signer_failed: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The signer failed to sign.',
    fix: 'See the cause of this error. Check that the service with the key can be reached, and lets this program sign.',
  },
  key_backend_unavailable: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The key backend is not available on this machine.',
    fix: 'Use',
    command: ['amesh', 'init', '--backend', 'encrypted-file'],
  },
});
