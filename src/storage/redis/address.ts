import { randomBytes } from 'node:crypto';
import { within } from '../../core/within';
import type { RedisClient, RedisNode } from './client';
import { loadIoRedis } from './load';
import { askRun } from './remembers';
import { type RedisSource, toRedisClient } from './source';

/** Longer than it is needed. */
const WORD_LASTS_MS = 5000;

/**
 * Asks by a new connection where an address leads to now: one that is open stays where it is when a proxy, a name or a
 * sentinel has another answer.
 *
 * @param node what the open connection leads to
 * @returns the run of that Redis; empty where it does not say, but is the same one; null where it is another one
 * @throws Error where it does not answer within `timeoutMs`
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
  const late = () => reason ?? new Error('The address of Redis does not answer.');
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
  // Its data may be a copy. What is written at the one place now is read at the other only if they are one.
  const word = randomBytes(9).toString('base64url');
  await node.set(`amesh:nonce:here:${word}`, word, 'PX', WORD_LASTS_MS);
  return (await client.getrange(`amesh:nonce:here:${word}`, 0, word.length)) === word ? '' : null;
}
