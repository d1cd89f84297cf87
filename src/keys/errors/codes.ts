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
  key_backend_unavailable: {
    status: 503,
    wire: 'allow_list_unavailable',
    cause: 'The key backend is not available on this machine.',
    fix: 'Use',
    command: ['amesh', 'init', '--backend', 'encrypted-file'],
  },
});
