/** An ioredis client. The relay uses its settings for connections of its own, and does not use the client itself. */
export interface RedisClient {
  duplicate(override?: object): unknown;
}

/** The methods of a connection that the relay uses. */
export interface RedisConnection {
  connect(): Promise<unknown>;
  disconnect(): void;
  on(event: string, listener: (...values: string[]) => void): unknown;
  subscribe(channel: string): Promise<unknown>;
  publish(channel: string, message: string): Promise<number>;
  set(key: string, value: string, ...options: string[]): Promise<unknown>;
  del(key: string): Promise<unknown>;
  eval(script: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>;
}

/** Makes a connection that is not open yet. */
export type Connect = () => RedisConnection;

/**
 * A connection ends with its first failure, and the relay makes a new one. So no command is sent twice, and no command waits until
 * Redis comes back.
 */
const SETTINGS = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: false,
  maxRetriesPerRequest: null,
  retryStrategy: () => null,
  connectTimeout: 3_000,
  // These override the client that was given: the scripts name whole keys, and the relay has its own deadlines.
  keyPrefix: '',
  commandTimeout: undefined,
  stringNumbers: false,
};

/**
 * @param redis a URL (`redis://` or `rediss://`), or an ioredis client
 * @throws TypeError for anything else
 */
export function checkRedis(redis: unknown): asserts redis is string | RedisClient {
  // No error shows the URL, since it may contain a password.
  if (typeof redis === 'string') {
    const { protocol, hostname } = URL.canParse(redis) ? new URL(redis) : {};
    if (/^rediss?:$/.test(protocol ?? '') && hostname !== '') return;
    throw new TypeError(
      'REDIS_URL must be a URL such as redis://127.0.0.1:6379 or rediss://user:password@host.',
    );
  }
  const client = redis as { duplicate?: unknown; isCluster?: unknown } | null;
  if (typeof client !== 'object' || typeof client?.duplicate !== 'function' || client.isCluster === true) {
    throw new TypeError('redis must be a URL or an ioredis client that is not a cluster client.');
  }
}

/** @throws Error with the command to type, if ioredis is needed and not installed */
export async function loadConnect(redis: string | RedisClient): Promise<Connect> {
  if (typeof redis !== 'string') return () => redis.duplicate(SETTINGS) as RedisConnection;
  const { Redis } = await import('ioredis').catch((error: { code?: string }) => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error('Redis needs the package ioredis: npm install ioredis');
  });
  return () => new Redis(redis, SETTINGS) as unknown as RedisConnection;
}
