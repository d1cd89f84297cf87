import { defineCodes } from '../../core/errors/define-codes';

/** Codes for an instance or identity that cannot be created. */
export const MACHINE_CODES = /* @__PURE__ */ defineCodes({
  no_file_system: {
    cause: 'This runtime has no file system.',
    fix: 'Use createClient() or createVerifier() of @authmesh/sdk/core with a key of your own.',
  },
  identity_exists: {
    cause: 'This machine already has an amesh identity.',
    fix: 'Keep it, or replace it with --force, which loses every pairing.',
  },
});
