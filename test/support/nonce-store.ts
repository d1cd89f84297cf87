import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NonceStore } from '@authmesh/sdk/core';
import { SOON } from './waiting';

export const randomNonce = () => randomBytes(16).toString('base64url');

/** Waits until a store lets somebody in, for a while at most. */
export async function opened<T extends NonceStore>(store: T, waitMs = SOON): Promise<T> {
  for (let [pauseMs, endsAt] = [10, Date.now() + waitMs]; ; pauseMs = Math.min(100, pauseMs * 1.5)) {
    try {
      await store.claim('am_OOOOOOOOOOOOOOOO', randomNonce(), Date.now() + 1000);
      return store;
    } catch (error) {
      if (Date.now() > endsAt) throw error;
      await sleep(pauseMs);
    }
  }
}
