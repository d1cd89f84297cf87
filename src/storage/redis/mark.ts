import { randomBytes } from 'node:crypto';
import type { RedisNode } from './client';

/** The key under which a Redis stores since when it remembers. In a cluster, each master has its own. */
const MARKER = 'amesh:nonce:since:';

/** Longer than any marker, so that a large value of another client is not fetched. */
const MAX_MARKER = 250;

/** More names than any cluster needs to find one for each master. */
const MAX_MARKERS = 10_000;

/** How long a mark lasts if nobody renews it, by the clock of its Redis. After that, nonces may have gone elsewhere. */
export const MARK_LASTS_MS = 2000;

/** The mark that a Redis stores with its nonces, for as long as they are complete. */
export interface Mark {
  readonly text: string;
  /** The time since which it remembers, Unix seconds by the writer's clock. */
  readonly since: number;
  /** A new ID each time that somebody starts from the beginning. */
  readonly id: string;
  /** When it was written, by the clock of its Redis, Unix milliseconds; undefined if unknown. */
  readonly bornMs: number | undefined;
}

/** The mark in a text; null if it is not a mark, or belongs to another run. */
export function toMark(text: string, run: string): Mark | null {
  const [markedRun, since, id = '', born] = text.split(' ');
  if (markedRun !== run || !/^\d{1,15}$/.test(since ?? '') || id === '') return null;
  return { text, since: Number(since), id, bornMs: born ? Number(born) : undefined };
}

/**
 * Records for all instances since when a Redis remembers.
 *
 * @param since Unix seconds
 */
export async function writeMark(
  node: RedisNode,
  { run, nowMs }: { readonly run: string; readonly nowMs: number | undefined },
  since: number,
): Promise<Mark> {
  const id = randomBytes(9).toString('base64url');
  const text = `${run} ${since} ${id} ${nowMs ?? ''}`;
  // If the time is known, the end is absolute, so that a delayed command does not revive a mark.
  const [unit, end] =
    nowMs === undefined ? (['PX', MARK_LASTS_MS] as const) : (['PXAT', nowMs + MARK_LASTS_MS] as const);
  await node.set(markerOf(node), text, unit, end);
  return { text, since, id, bornMs: nowMs };
}

/**
 * Renews a mark.
 *
 * @returns false if it has expired
 */
export async function renewMark(node: RedisNode, { text }: Mark): Promise<boolean> {
  const key = markerOf(node);
  try {
    return (await node.pexpire(key, MARK_LASTS_MS)) === 1;
  } catch (error) {
    // The ACL of this Redis user may allow only the commands of a claim.
    if (!/^NOPERM/.test((error as Error).message)) throw error;
    return (await node.set(key, text, 'PX', MARK_LASTS_MS, 'XX')) === 'OK';
  }
}

/** The text of the mark. In a cluster, a master answers only for its own keys, so this tries one name after the other. */
export async function readMarker(node: RedisNode): Promise<string> {
  for (let tries = 0; ; tries++) {
    try {
      return await node.getrange(markerOf(node), 0, MAX_MARKER);
    } catch (error) {
      const { message } = error as Error;
      if (message.startsWith('WRONGTYPE ')) return '';
      if (!message.startsWith('MOVED ') || tries > MAX_MARKERS) throw error;
      numbers.set(node, ((numbers.get(node) ?? 0) + 1) % MAX_MARKERS);
    }
  }
}

const numbers = new WeakMap<RedisNode, number>();

function markerOf(node: RedisNode): string {
  return `${MARKER}${numbers.get(node) ?? 0}`;
}
