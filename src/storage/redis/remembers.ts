import type { RedisNode } from './client';

/** Under this name a Redis keeps since when it remembers; in a cluster each master has one that falls to it. */
const MARKER = 'amesh:nonce:since:';

/** Longer than any marker: what somebody else has put there is not fetched. */
const MAX_MARKER = 200;

/** More masters than this times a few are no cluster that anybody has. */
const MAX_MARKERS = 10_000;

/** What a Redis says of itself, as far as it matters to what it remembers. */
export interface RedisFacts {
  /**
   * Another one after each start, after each change of its role, and after each key that it threw away; empty where it
   * does not say.
   */
  readonly run: string;
  /** What it says that it does when its memory is full; undefined where it does not say. */
  readonly maxmemoryPolicy: string | undefined;
  /** A node of a cluster, whose keys lie on several. */
  readonly isCluster: boolean;
  /** Its marker, where it is there and of this run. Unix seconds. */
  readonly since: number | undefined;
}

/**
 * Asks a Redis who it is and since when it remembers.
 *
 * @throws Error where it does not answer, is still loading, or is a replica
 */
export async function askRedis(node: RedisNode): Promise<RedisFacts> {
  const [info, marker] = await Promise.all([infoOf(node), readMarker(node)]);
  if (field(info, 'loading') === '1') throw new Error('It is loading its data.');
  if ((field(info, 'role') ?? 'master') !== 'master') throw new Error('It is a replica.');
  const run = toRun(info);
  const [markedRun, markedSince] = marker.split(' ');
  const since = Number(markedSince);
  return {
    run,
    maxmemoryPolicy: field(info, 'maxmemory_policy'),
    isCluster: field(info, 'redis_mode') === 'cluster',
    since: markedRun === run && Number.isSafeInteger(since) ? since : undefined,
  };
}

/** Notes for all instances since when a Redis that was asked remembers. */
export async function mark(node: RedisNode, { run }: RedisFacts, since: number): Promise<void> {
  await node.set(markerOf(node), `${run} ${since}`);
}

// Its own run id is not enough: a master that was a replica for a while has the data, and the marker, of its master.
function toRun(info: string): string {
  const runId = field(info, 'run_id') ?? '';
  if (runId === '') return '';
  return [runId, field(info, 'master_replid') ?? '', field(info, 'evicted_keys') ?? ''].join('.');
}

/** Some services hide INFO, and what it says is then not known. */
async function infoOf(node: RedisNode): Promise<string> {
  try {
    return await node.info();
  } catch (error) {
    if (/^(?:NOPERM|ERR unknown command)/.test((error as Error).message)) return '';
    throw error;
  }
}

const numbers = new WeakMap<RedisNode, number>();

function markerOf(node: RedisNode): string {
  return `${MARKER}${numbers.get(node) ?? 0}`;
}

/** In a cluster a master answers only for the keys that fall to it: the next name may be one. */
async function readMarker(node: RedisNode): Promise<string> {
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

function field(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
}
