import { randomBytes } from 'node:crypto';
import type { SharedListOptions } from './shared-list';
import { toAllowList } from './to-allow-list';
import type { TrustStore } from './trust-store';

/** How often an instance reports to the store. An instance that was silent for 30 s is not counted. */
const CONFIRM_EVERY_MS = 10_000;

/** Limits how often a large list is polled, since many instances would fill the network. Notifications ignore it. */
const BYTES_A_SECOND = 2_097_152;

/**
 * Reads a list from a store, and opens it only if its bytes changed. It reports the revision to a store that supports
 * that, so that an administrator who revokes a device sees how many instances know about it.
 */
export function toLoader(trust: () => Promise<TrustStore>): SharedListOptions['load'] {
  const instance = randomBytes(9).toString('base64url');
  let known: Uint8Array | null = null;
  let revision = 0;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let readAt = Number.NEGATIVE_INFINITY;
  let isOpen = false;
  return async (wasTold, silence) => {
    const restMs = ((known?.length ?? 0) / BYTES_A_SECOND) * 1000;
    if (!wasTold && restMs > 1000 && performance.now() - readAt < restMs) return undefined;
    readAt = performance.now();
    if (!isOpen) await trust(); // unlocks the key once, which is slow
    isOpen = true;
    silence.begin(); // counts local files, too: a disk can hang, and so can all threads that read it
    const store = await trust();
    const opened = await store.readChange(known, () => silence.end());
    const list = opened === null ? null : toAllowList(opened.document);
    if (opened !== null) {
      known = opened.bytes;
      revision = opened.document.revision;
    }
    if (list !== null || performance.now() - confirmedAt > CONFIRM_EVERY_MS) {
      confirmedAt = performance.now();
      store.confirm(instance, revision).catch(() => {}); // a failure only lowers a displayed number
    }
    return list;
  };
}
