import { defineCodes } from '../../core/errors/define-codes';

/** Where an instance cannot be made. */
export const MACHINE_CODES = /* @__PURE__ */ defineCodes({
  no_file_system: {
    cause: 'There is no file system here.',
    fix: 'Use createClient() or createVerifier() of @authmesh/sdk/core with a key of your own.',
  },
  identity_exists: {
    cause: 'This machine has an amesh identity already.',
    fix: 'Keep it, or replace it with --force; every pairing is then lost.',
  },
});
