import { RedisDocumentStore } from '../storage/redis/document-store';
import { readRedisUrl } from '../storage/redis/source';
import type { DocumentStore } from './document-store';
import type { Env } from './home';
import { ALLOW_LIST_KEY } from './trust-store';

const stores = new Map<string, DocumentStore>();

/**
 * The store of AMESH_STORE_URL, one for all in this process; null where it is not set.
 *
 * @throws TypeError where it is no `redis://` or `rediss://` URL
 */
export function sharedStoreOf(env: Env): DocumentStore | null {
  if (!env.AMESH_STORE_URL) return null;
  const url = readRedisUrl(env.AMESH_STORE_URL, 'AMESH_STORE_URL');
  const store = stores.get(url) ?? new RedisDocumentStore({ kind: 'url', url, redis: {} }, 'amesh:');
  stores.set(url, store);
  return store;
}

/** The name of a list in a store that holds those of several targets. */
export function sharedKey(list: string): string {
  return `${list}:${ALLOW_LIST_KEY}`;
}
