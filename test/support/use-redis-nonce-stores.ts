import { RedisNonceStore } from '@authmesh/sdk/redis';
import { afterEach } from 'vitest';

type From = ConstructorParameters<typeof RedisNonceStore>[0];

/** Nonce stores in Redis, each of which is closed after its test. */
export function useRedisNonceStores(): (from: From) => RedisNonceStore {
  const stores: RedisNonceStore[] = [];
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
  });
  return (from) => {
    const store = new RedisNonceStore(from);
    stores.push(store);
    return store;
  };
}
