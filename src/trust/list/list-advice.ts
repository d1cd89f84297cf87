import type { Fix } from '../../core/errors/define-codes';

/** If the list is not in the folder, it is usually in a store, and rarely lost. A reset would then create a second list. */
export const ABSENT = {
  /** What is missing, in one sentence. */
  detail: 'There is no allow_list.json in the folder.',
  /** What to do about it. */
  fix: 'If the list is in a store, set AMESH_STORE_URL. If not, restore it, or start an empty one with',
  /** With which command. */
  command: ['amesh', 'trust', 'reset'],
};

const KEEP = ['amesh', 'trust', 'reset', '--keep'];

/** For a list that is older than the list that was seen. */
export const OLDER: Fix = {
  fix: 'Restore the newer one. If it is lost, continue from this one, without the changes since',
  command: KEEP,
};

/** For a different list with the revision that was seen. */
export const OTHER: Fix = {
  fix: 'Restore the other one. If it is lost, continue from this one, without the changes in the other',
  command: KEEP,
};

/** For a list that is too far ahead of the list that was seen. */
export const TOO_FAR: Fix = {
  fix: 'If this instance was off while the list was reset, and amesh list --json shows this revision on the machine of its owner: delete seen.json in the folder of this instance, and restart it. If not, restore the right list.',
};

/** For a folder that was restored while a process ran. */
export const SET_BACK: Fix = {
  fix: 'Restore the newer folder. If it is lost, restart this process: it then continues from this older list, without the changes since.',
};
