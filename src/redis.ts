export { RedisNonceStore } from './storage/redis/nonce-store';
export type { RedisNonceStoreOptions } from './storage/redis/options';
