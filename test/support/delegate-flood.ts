import type { NonceStore } from '@authmesh/sdk/core';
import { expect } from 'vitest';
import { delegatesOf } from '../../src/core/nonces/nonce-store';
import { randomNonce } from './nonce-store';

const DEVICES = ['am_FFFFFFFFFFFFFFFF', 'am_GGGGGGGGGGGGGGGG'] as const;

/**
 * Delegates of one device claim twice as many nonces as they may. The device itself and other delegates are served.
 *
 * @param stores over one memory, each with room for `most` nonces of the delegates of a device; empty of these devices
 */
export async function floodOfDelegates(stores: readonly NonceStore[], most: number): Promise<void> {
  const [flooding, other] = DEVICES;
  const claim = (name: string, i: number) =>
    (stores[i % stores.length] as NonceStore).claim(name, randomNonce(), Date.now() + 60_000);
  const settled = await Promise.allSettled(
    Array.from({ length: 2 * most }, async (_, i) => claim(delegatesOf(flooding), i)),
  );
  expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(most);
  const refused = settled.filter((each) => each.status === 'rejected');
  expect(refused.map(({ reason }) => reason)).toContainEqual(
    expect.objectContaining({
      code: 'nonce_store_unavailable',
      message: expect.stringContaining('The delegates of one device'),
    }),
  );
  for (let i = 0; i < 2 * most; i++) expect(await claim(flooding, i)).toBe(true);
  expect(await claim(delegatesOf(other), 0)).toBe(true);
}
