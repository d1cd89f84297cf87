import { AmeshError } from '../core/errors/amesh-error';
import { SERVER_CODES } from '../core/errors/codes';
import { readVariable } from '../process/environment';
import type { Env } from '../process/home';
import type { DocumentStore } from '../storage/document-store';
import { RedisDocumentStore } from '../storage/redis/documents/document-store';
import { ioRedisProblem } from '../storage/redis/load';
import { readRedisUrl } from '../storage/redis/source';

const stores = new Map<string, DocumentStore>();

/**
 * The store of AMESH_STORE_URL, one instance per process; null if it is not set.
 *
 * @throws TypeError if it is empty, or not a `redis://` or `rediss://` URL; AmeshError `allow_list_unavailable` if ioredis is
 *   not installed
 */
export function sharedStoreOf(env: Env): DocumentStore | null {
  // Ignoring an empty variable would use the folder's list, which lacks the revocations in the store.
  const text = readVariable(env, 'AMESH_STORE_URL', 'wrong');
  if (text === undefined) return null;
  const url = readRedisUrl(text, 'AMESH_STORE_URL');
  const problem = ioRedisProblem();
  if (problem !== null) {
    const { why, advice } = problem;
    throw new AmeshError(
      SERVER_CODES.allow_list_unavailable,
      `The store of the allow list failed: ${why}`,
      advice,
    );
  }
  const store = stores.get(url) ?? new RedisDocumentStore({ kind: 'url', url, redis: {} }, 'amesh:');
  stores.set(url, store);
  return store;
}
