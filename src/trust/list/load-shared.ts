import { randomBytes } from 'node:crypto';
import type { PagedList } from '../format/paged-list';
import type { ListStore } from './list-store';
import type { SharedListOptions } from './shared-list';

/** How often an instance reports to the store. An instance that was silent for 30 s is not counted. */
const CONFIRM_EVERY_MS = 10_000;

/**
 * Reads the list. If its owner has just rotated its key, the list is opened again.
 *
 * @param trust opens its store, with the keys that count at that moment
 */
export async function readCurrent(trust: () => Promise<ListStore>): Promise<PagedList> {
  return (await readWith(trust)).list;
}

async function readWith(trust: () => Promise<ListStore>, answered?: () => void) {
  const store = await trust();
  try {
    return { store, list: await store.read(answered) };
  } catch (error) {
    const now = await trust();
    if (now === store) throw error;
    return { store: now, list: await now.read(answered) };
  }
}

/**
 * Reads a list from a store. It reports the revision to a store that supports that, so that an administrator who revokes
 * a device sees how many instances know about it.
 */
export function toLoader(trust: () => Promise<ListStore>): SharedListOptions['load'] {
  const instance = randomBytes(9).toString('base64url');
  let known: PagedList | null = null;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let isOpen = false;
  return async (silence) => {
    if (!isOpen) await trust(); // this unlocks the key once, which is slow
    isOpen = true;
    silence.begin(); // local files are timed, too: a disk can hang, and so can all threads that read it
    const { store, list } = await readWith(trust, () => silence.end());
    const isSame = list === known;
    known = list;
    if (!isSame || performance.now() - confirmedAt > CONFIRM_EVERY_MS) {
      confirmedAt = performance.now();
      store.confirm(instance, list.head.revision).catch(() => {}); // a failure only lowers a displayed number
    }
    return list;
  };
}
