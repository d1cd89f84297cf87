import { randomBytes } from 'node:crypto';
import type { SharedListOptions } from './shared-list';
import { toAllowList } from './to-allow-list';
import type { TrustStore } from './trust-store';

/** How often an instance says that it is still there; those who were silent for 30 s are not counted. */
const CONFIRM_EVERY_MS = 10_000;

/** A large list is read less often, unless its store tells of a change: many instances would fill the network. */
const BYTES_A_SECOND = 2_097_152;

/**
 * Reads a list from a store, and opens it only where its bytes have changed. It notes the revision in the store, where the
 * store can keep that, so that an administrator who revokes a device sees how many instances have heard of it.
 */
export function toLoader(trust: () => Promise<TrustStore>): SharedListOptions['load'] {
  const instance = randomBytes(9).toString('base64url');
  let known: Uint8Array | null = null;
  let revision = 0;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let readAt = Number.NEGATIVE_INFINITY;
  let isOpen = false;
  return async (wasTold, asked) => {
    const restMs = ((known?.length ?? 0) / BYTES_A_SECOND) * 1000;
    if (!wasTold && restMs > 1000 && performance.now() - readAt < restMs) return undefined;
    readAt = performance.now();
    if (!isOpen) await trust(); // unlocks the key, which may take its time, once
    isOpen = true;
    asked(true); // its files, too: a disk can fall silent, and so can all threads that would read it
    const store = await trust();
    const opened = await store.readChange(known, () => asked(false));
    const list = opened === null ? null : toAllowList(opened.document);
    if (opened !== null) {
      known = opened.bytes;
      revision = opened.document.revision;
    }
    if (list !== null || performance.now() - confirmedAt > CONFIRM_EVERY_MS) {
      confirmedAt = performance.now();
      store.confirm(instance, revision).catch(() => {}); // people only miss a number
    }
    return list;
  };
}
