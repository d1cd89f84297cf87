import { within } from '../../core/within';
import { RedisConnection } from './connection';
import { loadIoRedis, toReason } from './load';
import { evictionProblemOf, problemOf, type RedisProblem } from './problem';
import { askRedis } from './remembers';
import { readRedisUrl } from './source';

const TIMEOUT_MS = 3000;

/**
 * Checks whether a Redis can store nonces, or a list if its variable is AMESH_STORE_URL, without writing anything.
 *
 * @param url undefined or empty if the variable is not set
 * @param variable the variable of the URL, for the message
 * @returns the problem; null if there is none
 * @throws VariableError if it is not a Redis URL; IoRedisError if ioredis is missing; Error if Redis does not respond within 3 s.
 *   No error quotes the URL
 */
export async function probeRedis(url: string | undefined, variable: string): Promise<RedisProblem | null> {
  const source = { kind: 'url', url: readRedisUrl(url, variable), redis: {} } as const;
  await loadIoRedis(); // loaded first, since loading may be slow and is not part of the time limit
  let wake = () => {};
  const connection = new RedisConnection(source, { changed: () => wake(), lost: () => {} });
  try {
    return await within(
      TIMEOUT_MS,
      async (waiting) => {
        await new Promise<void>((resolve) => {
          wake = resolve;
          waiting.whenOver = resolve;
        });
        const [node] = connection.masters();
        if (node === undefined) throw new Error('There is no Redis.');
        const facts = await askRedis(node);
        // Nonces have a time to live, and a list has none.
        if (variable === 'AMESH_STORE_URL' && !facts.isCluster)
          return evictionProblemOf(facts.maxmemoryPolicy, () => {});
        return problemOf(facts, connection.isCluster, () => {});
      },
      () => new Error(connection.reason?.message ?? `It did not respond within ${TIMEOUT_MS / 1000} s.`),
    );
  } catch (error) {
    throw toReason(error as Error);
  } finally {
    connection.close();
  }
}
