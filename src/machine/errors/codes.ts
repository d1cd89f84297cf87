import { defineCodes } from '../../core/errors/define-codes';

/** Codes for an instance or identity that cannot be created, and for the rotation of its key. */
export const MACHINE_CODES = /* @__PURE__ */ defineCodes({
  no_file_system: {
    cause: 'This runtime has no file system.',
    fix: 'Use createClient() or createVerifier() of @authmesh/sdk/core with a key of your own. If this is a bundle on Node, its bundler has to resolve the condition "node".',
  },
  unknown_target: {
    cause: 'No target in the allow list of this machine has that host.',
    fix: 'Call it by a host that amesh list shows, or pair with it, or add the host by hand; LINE is what amesh trust export prints there',
    command: ['amesh', 'trust', 'add', '--role', 'target', '--host', 'HOST:PORT', 'LINE'],
  },
  identity_exists: {
    cause: 'This machine already has an amesh identity.',
    fix: 'Keep it, or replace it with --force, which loses every pairing.',
  },
  rotation_unreadable: {
    cause: 'rotation.json, which remembers the former key and who knows the next one, is damaged.',
    fix: 'Restore it from a backup. Without it, continue with the next key alone: move the file away. Targets that do not know that key refuse it: there, revoke the former one, and pair again.',
  },
  rotation_unfinished: {
    cause: 'Not every target has accepted the next key.',
    fix: 'amesh rotate finish --force gives up those that have not. To announce the key to one by a request',
    command: ['amesh', 'rotate', 'URL'],
  },
  not_rotating: {
    cause: 'No key is being replaced on this machine.',
    fix: 'Begin with',
    command: ['amesh', 'rotate'],
  },
  rotation_final: {
    cause: 'This rotation cannot be withdrawn any more.',
    fix: 'Rotate once more instead, to another key. Before that',
    command: ['amesh', 'rotate', 'finish'],
  },
});
