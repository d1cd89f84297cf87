import type { RedisNode } from './client';
import { type Mark, readMarker, toMark } from './mark';

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
  /** Its own time, Unix milliseconds; undefined where it does not say. */
  readonly nowMs: number | undefined;
  /** Its mark, where it is there and of this run. */
  readonly mark: Mark | null;
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
  const micros = field(info, 'server_time_usec');
  return {
    run,
    maxmemoryPolicy: field(info, 'maxmemory_policy'),
    isCluster: field(info, 'redis_mode') === 'cluster',
    nowMs: micros === undefined ? undefined : Math.floor(Number(micros) / 1000),
    mark: toMark(marker, run),
  };
}

/** Which run of a Redis this is; empty where it does not say. */
export async function askRun(node: RedisNode): Promise<string> {
  return toRun(await infoOf(node));
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

function field(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
}
