export type { IoRedis } from '../storage/redis/client';
export { RedisNonceStore } from '../storage/redis/nonce-store';
export type { RedisNonceStoreOptions } from '../storage/redis/options';
export type { ClusterNode, RedisSourceOptions } from '../storage/redis/source';
