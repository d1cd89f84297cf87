import type { Fix } from '../../core/errors/define-codes';
import type { RedisFacts } from './remembers';

/** What is wrong with a Redis, or with the package that amesh needs for it. */
export interface RedisProblem {
  /** The cause: one sentence. */
  readonly why: string;
  /** What to do about it. */
  readonly advice: Fix;
}

/**
 * Why a Redis is not suitable; null if it is.
 *
 * @param warn called with a sentence about anything that cannot be known
 */
export function problemOf(
  { maxmemoryPolicy, isCluster }: RedisFacts,
  viaCluster: boolean,
  warn: (line: string) => void,
): RedisProblem | null {
  if (isCluster && !viaCluster) {
    return {
      why: 'This Redis is one node of a cluster.',
      advice: { fix: 'Use new RedisNonceStore({ cluster: [process.env.REDIS_URL] }).' },
    };
  }
  if (maxmemoryPolicy === undefined) {
    warn(
      'This Redis does not reveal its maxmemory-policy. Make sure that it is noeviction: any other may evict nonces that could still be replayed.',
    );
    return null;
  }
  if (maxmemoryPolicy === 'noeviction') return null;
  return {
    why: `This Redis has the maxmemory-policy ${maxmemoryPolicy}, and may evict nonces that could still be replayed.`,
    advice: { fix: 'Run', command: ['redis-cli', 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction'] },
  };
}

/**
 * Why a Redis may lose an allow list; null if it keeps it. A list has no time to live, so the policies `volatile-…` never
 * evict it.
 *
 * @param warn called if the policy is unknown
 */
export function evictionProblemOf(
  policy: string | undefined,
  warn: (line: string) => void,
): RedisProblem | null {
  if (policy === undefined) {
    warn(
      'The Redis of the allow list does not reveal its maxmemory-policy. Make sure that it is noeviction: others may evict the list.',
    );
    return null;
  }
  if (policy === 'noeviction' || policy.startsWith('volatile-')) return null;
  return {
    why: `This Redis has the maxmemory-policy ${policy}, and may evict the allow list.`,
    advice: { fix: 'Run', command: ['redis-cli', 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction'] },
  };
}
