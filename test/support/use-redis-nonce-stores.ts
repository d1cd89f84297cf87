import { RedisNonceStore } from '@authmesh/sdk/redis';
import { afterAll } from 'vitest';

type From = ConstructorParameters<typeof RedisNonceStore>[0];

/** Nonce stores in Redis, which are closed after the last test: those of a file may run side by side. */
export function useRedisNonceStores(): (from: From) => RedisNonceStore {
  const stores: RedisNonceStore[] = [];
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
  });
  return (from) => {
    const store = new RedisNonceStore(from);
    stores.push(store);
    return store;
  };
}
