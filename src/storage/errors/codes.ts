import { defineCodes } from '../../core/errors/define-codes';

/** Codes for a failed change of stored data. */
export const STORAGE_CODES = /* @__PURE__ */ defineCodes({
  store_busy: {
    cause: 'Another process holds the lock.',
    fix: 'Try again.',
  },
  store_conflict: {
    cause: 'Another process changed the allow list at the same moment, several times in a row.',
    fix: 'Try again.',
  },
  store_unsynced: {
    cause: 'The change was made, but the disk did not confirm it.',
    fix: 'Check the disk. To see the current state',
    command: ['amesh', 'list'],
  },
});
