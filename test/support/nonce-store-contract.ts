import { setTimeout as sleep } from 'node:timers/promises';
import type { NonceStore } from '@authmesh/sdk/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { delegatesOf } from '../../src/core/nonces/nonce-store';
import { randomNonce } from './nonce-store';

/** What a contract needs of a store under test. */
export interface NonceStoreUnderTest {
  readonly store: NonceStore;
  /** Another store over the same memory, as another process would have it; left out where there is none. */
  reopen?(): NonceStore;
}

const DEVICES = ['am_AAAAAAAAAAAAAAAA', 'am_BBBBBBBBBBBBBBBB'] as const;
/** Two that claim: a device, and its delegates. */
const CLAIMANTS = [DEVICES[0], delegatesOf(DEVICES[0])] as const;
const inAMinute = () => Date.now() + 60_000;

/**
 * Every nonce store passes this.
 *
 * @param makeStore one that is ready, for each test; it may hold nonces of others already
 */
export function nonceStoreContract(name: string, makeStore: () => Promise<NonceStoreUnderTest>): void {
  describe(`${name} as a nonce store`, () => {
    let made: NonceStoreUnderTest;
    let store: NonceStore;
    beforeEach(async () => {
      made = await makeStore();
      store = made.store;
    });

    it('takes a nonce once for each device', async () => {
      const [a, b] = DEVICES;
      const nonces = [randomNonce(), randomNonce()] as const;
      expect(await store.claim(a, nonces[0], inAMinute())).toBe(true);
      expect(await store.claim(a, nonces[0], inAMinute())).toBe(false);
      expect(await store.claim(b, nonces[0], inAMinute())).toBe(true);
      expect(await store.claim(a, nonces[1], inAMinute())).toBe(true);
      expect(await store.claim(b, nonces[0], inAMinute())).toBe(false);
    });

    it('takes a nonce once for a device, and once for its delegates', async () => {
      const nonce = randomNonce();
      const names = [...CLAIMANTS, delegatesOf(DEVICES[1])];
      for (const name of names) expect(await store.claim(name, nonce, inAMinute())).toBe(true);
      for (const name of names) expect(await store.claim(name, nonce, inAMinute())).toBe(false);
    });

    it('tells nonces apart that differ in case or in one character', async () => {
      const nonce = `${randomNonce().slice(0, 20)}aA`;
      for (const other of [nonce, `${nonce.slice(0, 20)}AA`, `${nonce.slice(0, 20)}aQ`]) {
        expect(await store.claim(DEVICES[0], other, inAMinute())).toBe(true);
      }
    });

    it.each(CLAIMANTS)('lets exactly one of 100 at once of %s have it', async (name) => {
      const nonce = randomNonce();
      const stores = [store, made.reopen?.() ?? store];
      const won = await Promise.all(
        Array.from({ length: 100 }, (_, i) => (stores[i % 2] as NonceStore).claim(name, nonce, inAMinute())),
      );
      expect(won.filter((each) => each === true)).toHaveLength(1);
      expect(won.filter((each) => each === false)).toHaveLength(99);
    });

    it('keeps it as long as it has to', async () => {
      const nonce = randomNonce();
      const until = Date.now() + 1000;
      const claims = () => Promise.all(CLAIMANTS.map((name) => store.claim(name, nonce, until)));
      expect(await claims()).toEqual([true, true]);
      for (;;) {
        await sleep(300);
        const answers = await claims();
        if (Date.now() >= until) break; // which says nothing
        expect(answers).toEqual([false, false]);
      }
    });

    it.each(CLAIMANTS)('takes one of %s that has to be kept no longer, and goes on', async (name) => {
      expect(await store.claim(name, randomNonce(), Date.now() - 5000)).toBe(true);
      expect(await store.claim(name, randomNonce(), Date.now() + 0.5)).toBe(true);
      expect(await store.claim(name, randomNonce(), inAMinute())).toBe(true);
    });

    it('takes no nonce of another form', async () => {
      for (const nonce of ['', 'short', `${randomNonce()}x`]) {
        await expect((async () => store.claim(DEVICES[0], nonce, inAMinute()))()).rejects.toThrow(TypeError);
      }
    });

    it('says since when it remembers in whole seconds of the past, or not at all', () => {
      if (store.startedAt === undefined) return;
      expect(Number.isSafeInteger(store.startedAt)).toBe(true);
      expect(store.startedAt).toBeLessThanOrEqual(Date.now() / 1000);
    });

    it('is shared with other processes that open it', async () => {
      const other = made.reopen?.();
      if (other === undefined) return;
      const nonce = randomNonce();
      expect(await store.claim(DEVICES[0], nonce, inAMinute())).toBe(true);
      expect(await other.claim(DEVICES[0], nonce, inAMinute())).toBe(false);
    });
  });
}
