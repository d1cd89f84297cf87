import type { RedisFacts } from './remembers';

/**
 * Why a Redis must not be counted on; null where it may.
 *
 * @param warn is told what cannot be known
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
      'This Redis does not say its maxmemory-policy. See to it that it is noeviction: any other may throw nonces away that could still be replayed.',
    );
    return null;
  }
  if (maxmemoryPolicy === 'noeviction') return null;
  return `This Redis has the maxmemory-policy ${maxmemoryPolicy}, and may throw nonces away that could still be replayed. Run: redis-cli CONFIG SET maxmemory-policy noeviction`;
}
