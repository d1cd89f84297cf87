import { randomBytes } from 'node:crypto';
import type { RedisNode } from './client';

/** Under this name a Redis keeps since when it remembers; in a cluster each master has one that falls to it. */
const MARKER = 'amesh:nonce:since:';

/** Longer than any marker, so that a large value of another client is not fetched. */
const MAX_MARKER = 250;

/** More masters than this times a few are no cluster that anybody has. */
const MAX_MARKERS = 10_000;

/** A mark that nobody has renewed for so long is gone, by the clock of its Redis: nonces may be elsewhere since. */
export const MARK_LASTS_MS = 2000;

/** What a Redis keeps beside its nonces for as long as they are all there. */
export interface Mark {
  readonly text: string;
  /** Since when it remembers, Unix seconds by the clock of the writer. */
  readonly since: number;
  /** Another one for each time that somebody has begun anew. */
  readonly id: string;
  /** When it was written, by the clock of its Redis, Unix milliseconds; undefined where that is not known. */
  readonly bornMs: number | undefined;
}

/** The mark in a text; null where it is none, or of another run. */
export function toMark(text: string, run: string): Mark | null {
  const [markedRun, since, id = '', born] = text.split(' ');
  if (markedRun !== run || !/^\d{1,15}$/.test(since ?? '') || id === '') return null;
  return { text, since: Number(since), id, bornMs: born ? Number(born) : undefined };
}

/**
 * Notes for all instances since when a Redis remembers.
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
  // A moment where that is known: what was held up on its way does not bring a mark back.
  const [unit, end] =
    nowMs === undefined ? (['PX', MARK_LASTS_MS] as const) : (['PXAT', nowMs + MARK_LASTS_MS] as const);
  await node.set(markerOf(node), text, unit, end);
  return { text, since, id, bornMs: nowMs };
}

/**
 * Keeps a mark for another while.
 *
 * @returns false where it has run out
 */
export async function renewMark(node: RedisNode, { text }: Mark): Promise<boolean> {
  const key = markerOf(node);
  try {
    return (await node.pexpire(key, MARK_LASTS_MS)) === 1;
  } catch (error) {
    // The ACL of this Redis user allows only what a claim needs.
    if (!/^NOPERM/.test((error as Error).message)) throw error;
    return (await node.set(key, text, 'PX', MARK_LASTS_MS, 'XX')) === 'OK';
  }
}

/** The text of the mark. In a cluster a master answers only for the keys that fall to it: the next name may be one. */
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
