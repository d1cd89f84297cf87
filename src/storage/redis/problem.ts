import type { RedisFacts } from './remembers';

/**
 * Why a Redis is not suitable; null if it is.
 *
 * @param warn called with what cannot be known
 */
export function problemOf(
  { maxmemoryPolicy, isCluster }: RedisFacts,
  viaCluster: boolean,
  warn: (line: string) => void,
): string | null {
  if (isCluster && !viaCluster) {
    return 'This Redis is one node of a cluster: use new RedisNonceStore({ cluster: [process.env.REDIS_URL] }).';
  }
  if (maxmemoryPolicy === undefined) {
    warn(
      'This Redis does not reveal its maxmemory-policy. Make sure that it is noeviction: any other may evict nonces that could still be replayed.',
    );
    return null;
  }
  if (maxmemoryPolicy === 'noeviction') return null;
  return `This Redis has the maxmemory-policy ${maxmemoryPolicy}, and may evict nonces that could still be replayed. Run: redis-cli CONFIG SET maxmemory-policy noeviction`;
}
