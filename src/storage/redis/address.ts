import { randomBytes } from 'node:crypto';
import { within } from '../../core/within';
import type { RedisClient, RedisNode } from './client';
import { loadIoRedis } from './load';
import { askRun } from './remembers';
import { type RedisSource, toRedisClient } from './source';

/** How long the random value stays: longer than needed. */
const WORD_LASTS_MS = 5000;

/**
 * Opens a new connection to find out where an address leads now: an open connection does not move when a proxy, a name or a
 * sentinel starts to point elsewhere.
 *
 * @param node the Redis of the open connection
 * @returns the run ID of that Redis; empty if it has none, but is the same Redis; null if it is another Redis
 * @throws Error if it does not respond within `timeoutMs`
 */
export async function askAddress(
  source: RedisSource,
  node: RedisNode,
  timeoutMs: number,
): Promise<string | null> {
  const module = source.kind === 'client' ? null : await loadIoRedis();
  const client = toRedisClient(source, module, {});
  let reason: Error | undefined;
  client.on('error', (error: Error) => {
    reason ??= error;
  });
  client.on('connect', () => client.stream?.unref?.());
  const late = () => reason ?? new Error('The address of Redis does not respond.');
  try {
    return await within(timeoutMs, () => ask(client, node), late);
  } catch (error) {
    throw reason ?? error;
  } finally {
    client.disconnect();
  }
}

async function ask(client: RedisClient, node: RedisNode): Promise<string | null> {
  await client.connect();
  const run = await askRun(client);
  if (run !== '') return run;
  // Without a run ID the data may be a copy. So this writes a random value through one connection, and reads it through the other.
  const word = randomBytes(9).toString('base64url');
  await node.set(`amesh:nonce:here:${word}`, word, 'PX', WORD_LASTS_MS);
  return (await client.getrange(`amesh:nonce:here:${word}`, 0, word.length)) === word ? '' : null;
}
