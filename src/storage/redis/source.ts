import { type IoRedis, type IoRedisModule, isIoRedis, type RedisClient } from './client';

/** Where a Redis is, checked: exactly one of a URL, nodes of a cluster, options of ioredis, or a client of it. */
export type RedisSource =
  | { readonly kind: 'url'; readonly url: string; readonly redis: object }
  | { readonly kind: 'cluster'; readonly nodes: readonly ClusterNode[]; readonly redis: object }
  | { readonly kind: 'options'; readonly redis: object }
  | { readonly kind: 'client'; readonly client: IoRedis };

/** A node of a Redis Cluster to begin with. */
export type ClusterNode =
  | string
  | {
      /** A name or an IP address. */
      readonly host: string;
      /** Of its TCP port. */
      readonly port: number;
    };

/** Which Redis: exactly one of these. */
export interface RedisSourceOptions {
  /** `redis://` or `rediss://` (TLS), with user, password and number of the database where need be. */
  readonly url?: string | undefined;
  /** Some nodes of a Redis Cluster, as URLs or `{ host, port }`; the others are found. */
  readonly cluster?: readonly ClusterNode[] | undefined;
  /** Options of ioredis for each connection: `sentinels` and `name`, `tls`, `username`, `password`, … */
  readonly redis?: object | undefined;
  /** A client of ioredis 5 or 6. It is duplicated, with options of ours, and stays yours to close. */
  readonly client?: IoRedis | undefined;
}

/**
 * @param variable the environment variable that usually holds the URL, for the message
 * @throws TypeError
 */
export function readRedisSource(options: RedisSourceOptions, variable: string): RedisSource {
  const { cluster, client, redis } = options;
  if (redis !== undefined && (typeof redis !== 'object' || redis === null)) {
    throw new TypeError('redis is an object of options of ioredis.');
  }
  if (client !== undefined) {
    if (typeof client !== 'object' || client === null || !isIoRedis(client)) {
      throw new TypeError('client is no client of ioredis.');
    }
    if ('url' in options || cluster !== undefined || redis !== undefined) {
      throw new TypeError('A client has its own address: give it without url, cluster or redis.');
    }
    return { kind: 'client', client };
  }
  if (cluster !== undefined) {
    if ('url' in options) throw new TypeError('Give url or cluster, not both.');
    if (!Array.isArray(cluster) || cluster.length === 0 || !cluster.every(isClusterNode)) {
      throw new TypeError('cluster is a list of redis:// URLs or { host, port }.');
    }
    return { kind: 'cluster', nodes: [...cluster], redis: { ...redis } };
  }
  if (redis !== undefined && !('url' in options)) return { kind: 'options', redis: { ...redis } };
  return { kind: 'url', url: readRedisUrl(options.url, variable), redis: { ...redis } };
}

/**
 * @param url undefined or empty where the variable is not set
 * @throws TypeError, without quoting the URL: it may hold a password
 */
export function readRedisUrl(url: unknown, variable: string): string {
  if (url === undefined || url === '') {
    throw new TypeError(`No Redis address is set. Set ${variable}, such as redis://localhost:6379.`);
  }
  if (typeof url !== 'string' || !/^rediss?:\/\/./.test(url) || !URL.canParse(url)) {
    throw new TypeError(`${variable} is no URL of a Redis: it begins with redis:// or rediss://.`);
  }
  const { username, password, pathname, searchParams } = new URL(url);
  if (!isDecodable(username) || !isDecodable(password)) {
    throw new TypeError(
      `${variable} holds a user or a password with a % that is none of an escape: write %25.`,
    );
  }
  // ioredis would ask for the database NaN, and reject where nobody can catch it.
  if (![pathname.slice(1), searchParams.get('db') ?? ''].every((database) => /^\d{0,9}$/.test(database))) {
    throw new TypeError(
      `${variable} names a database that is no number, as the 0 in redis://localhost:6379/0.`,
    );
  }
  return url;
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function isClusterNode(node: ClusterNode): boolean {
  if (typeof node === 'string') return /^rediss?:\/\/./.test(node) && URL.canParse(node);
  return typeof node?.host === 'string' && Number.isInteger(node.port);
}

// Commands are never kept for later and never sent twice: a claim whose answer was lost would find itself. Connecting
// anew is ours to do, since the timers of ioredis would keep a process alive; so would its wait for the end of a
// connection that has ended already. The ready check is ours, too: see RedisMemory.
const OURS = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  retryStrategy: null,
  enableReadyCheck: false,
  disableClientInfo: true,
  connectTimeout: 2000,
  disconnectTimeout: 100,
} as const;

/**
 * A client of its own for a source, with options that are ours; not connected yet.
 *
 * @param module null where the source is a client, which brings it
 */
export function toRedisClient(source: RedisSource, module: IoRedisModule | null, more: object): RedisClient {
  const make = (Class: unknown, ...args: unknown[]) =>
    new (Class as new (...args: unknown[]) => RedisClient)(...args);
  const single = { ...OURS, ...more };
  switch (source.kind) {
    case 'url':
      return make(module?.Redis, source.url, { ...source.redis, ...single });
    case 'options':
      return make(module?.Redis, { ...source.redis, ...single });
    case 'cluster':
      return make(module?.Cluster, source.nodes, clusterOptions(source.redis, more));
    case 'client': {
      const { client } = source;
      const duplicate = client.duplicate.bind(client) as (...args: unknown[]) => RedisClient;
      if ((client as { isCluster?: boolean }).isCluster !== true) return duplicate(single);
      const { redisOptions = {} } = client.options as { redisOptions?: object };
      return duplicate([], clusterOptions(redisOptions, more));
    }
  }
}

function clusterOptions(redis: object, more: object) {
  const { connectTimeout, disableClientInfo } = OURS;
  return {
    ...more,
    lazyConnect: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: null,
    retryDelayOnFailover: 0,
    slotsRefreshTimeout: connectTimeout,
    scaleReads: 'master',
    redisOptions: { ...redis, connectTimeout, disableClientInfo },
  };
}
