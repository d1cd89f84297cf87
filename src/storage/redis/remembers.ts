import type { RedisNode } from './client';
import { type Mark, readMarker, toMark } from './mark';

/** What decides whether a Redis remembers nonces. */
export interface RedisFacts {
  /**
   * Changes with each start, each change of role, and each evicted key; empty if unknown.
   */
  readonly run: string;
  /** Its policy when its memory is full; undefined if unknown. */
  readonly maxmemoryPolicy: string | undefined;
  /** Whether it is a node of a cluster, whose keys are on several nodes. */
  readonly isCluster: boolean;
  /** Its own time, Unix milliseconds; undefined if unknown. */
  readonly nowMs: number | undefined;
  /** Its mark, if it has one of this run. */
  readonly mark: Mark | null;
}

/**
 * Asks a Redis for its identity, and since when it remembers.
 *
 * @throws Error if it does not respond, is still loading, or is a replica
 */
export async function askRedis(node: RedisNode): Promise<RedisFacts> {
  const [info, marker] = await Promise.all([infoOf(node), readMarker(node)]);
  if (field(info, 'loading') === '1') throw new Error('It is loading its data.');
  if ((field(info, 'role') ?? 'master') !== 'master') throw new Error('It is a replica.');
  const run = toRun(info);
  const micros = field(info, 'server_time_usec');
  return {
    run,
    maxmemoryPolicy: field(info, 'maxmemory_policy'),
    isCluster: field(info, 'redis_mode') === 'cluster',
    nowMs: micros === undefined ? undefined : Math.floor(Number(micros) / 1000),
    mark: toMark(marker, run),
  };
}

/** The policy of a Redis when its memory is full; undefined if unknown. */
export async function askPolicy(node: RedisNode): Promise<string | undefined> {
  return field(await infoOf(node), 'maxmemory_policy');
}

/** Identifies this run of a Redis; empty if unknown. */
export async function askRun(node: RedisNode): Promise<string> {
  return toRun(await infoOf(node));
}

// The run ID alone is not enough: a master that was a replica for a while has its master's data, and its marker.
function toRun(info: string): string {
  const runId = field(info, 'run_id') ?? '';
  if (runId === '') return '';
  return [runId, field(info, 'master_replid') ?? '', field(info, 'evicted_keys') ?? ''].join('.');
}

/** The reply to INFO. Some services hide it; then it is empty. */
async function infoOf(node: RedisNode): Promise<string> {
  try {
    return await node.info();
  } catch (error) {
    if (/^(?:NOPERM|ERR unknown command)/.test((error as Error).message)) return '';
    throw error;
  }
}

function field(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
}
