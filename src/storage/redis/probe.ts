import { within } from '../../core/within';
import { RedisConnection } from './connection';
import { loadIoRedis } from './load';
import { problemOf } from './problem';
import { toReason } from './reason';
import { askRedis } from './remembers';
import { readRedisUrl } from './source';

const TIMEOUT_MS = 3000;

/**
 * Whether a Redis can keep nonces, without writing anything to it.
 *
 * @param url undefined or empty where the variable is not set
 * @param variable what holds it, for the message
 * @returns what is wrong with it; null where nothing is
 * @throws TypeError for what is no URL of a Redis; Error where it does not answer within 3 s. Neither quotes the URL
 */
export async function probeRedis(url: string | undefined, variable: string): Promise<string | null> {
  const source = { kind: 'url', url: readRedisUrl(url, variable), redis: {} } as const;
  await loadIoRedis().catch(() => {}); // the connection says so; it takes its time on a busy machine, which is none of Redis' silence
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
        if (node === undefined) throw new Error('There is none.');
        return problemOf(await askRedis(node), connection.isCluster, () => {});
      },
      () => new Error(connection.reason?.message ?? `It did not respond within ${TIMEOUT_MS / 1000} s.`),
    );
  } catch (error) {
    throw toReason(error as Error);
  } finally {
    connection.close();
  }
}
