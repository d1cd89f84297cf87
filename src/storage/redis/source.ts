import { VariableError } from '../../process/environment';
import { type IoRedis, type IoRedisModule, isIoRedis, type RedisClient } from './client';

/** The checked address of a Redis: exactly one of a URL, cluster nodes, ioredis options, or an ioredis client. */
export type RedisSource =
  | { readonly kind: 'url'; readonly url: string; readonly redis: object }
  | { readonly kind: 'cluster'; readonly nodes: readonly ClusterNode[]; readonly redis: object }
  | { readonly kind: 'options'; readonly redis: object }
  | { readonly kind: 'client'; readonly client: IoRedis };

/** A node of a Redis Cluster by which the others are found. */
export type ClusterNode =
  | string
  | {
      /** A name or an IP address. */
      readonly host: string;
      /** Its TCP port. */
      readonly port: number;
    };

/** The Redis to use: exactly one of these. */
export interface RedisSourceOptions {
  /** `redis://` or `rediss://` (TLS), with user, password and database number if needed. */
  readonly url?: string | undefined;
  /** Some nodes of a Redis Cluster, as URLs or `{ host, port }`; the others are found. */
  readonly cluster?: readonly ClusterNode[] | undefined;
  /** ioredis options for each connection: `sentinels` and `name`, `tls`, `username`, `password`, … */
  readonly redis?: object | undefined;
  /** A client of ioredis 5 or 6. It is duplicated with our own options, and remains yours to close. */
  readonly client?: IoRedis | undefined;
}

/**
 * @param variable the environment variable that usually contains the URL, for the message
 * @throws TypeError
 */
export function readRedisSource(options: RedisSourceOptions, variable: string): RedisSource {
  const { cluster, client, redis } = options;
  if (redis !== undefined && (typeof redis !== 'object' || redis === null)) {
    throw new TypeError('redis must be an object of ioredis options.');
  }
  if (client !== undefined) {
    if (typeof client !== 'object' || client === null || !isIoRedis(client)) {
      throw new TypeError('client must be an ioredis client.');
    }
    if ('url' in options || cluster !== undefined || redis !== undefined) {
      throw new TypeError('A client has its own address: pass it without url, cluster or redis.');
    }
    return { kind: 'client', client };
  }
  if (cluster !== undefined) {
    if ('url' in options) throw new TypeError('Pass url or cluster, not both.');
    if (!Array.isArray(cluster) || cluster.length === 0 || !cluster.every(isClusterNode)) {
      throw new TypeError('cluster must be a list of redis:// URLs or { host, port }.');
    }
    return { kind: 'cluster', nodes: [...cluster], redis: { ...redis } };
  }
  if (redis !== undefined && !('url' in options)) return { kind: 'options', redis: { ...redis } };
  return { kind: 'url', url: readRedisUrl(options.url, variable), redis: { ...redis } };
}

/**
 * @param url undefined or empty if the variable is not set
 * @throws TypeError if it is not set; VariableError if it is wrong. Neither quotes the URL, which may contain a password
 */
export function readRedisUrl(url: unknown, variable: string): string {
  if (url === undefined || url === '') {
    throw new TypeError(`No Redis address is set. Set ${variable}, such as redis://localhost:6379.`);
  }
  if (typeof url !== 'string' || !/^rediss?:\/\/./.test(url) || !URL.canParse(url)) {
    throw new VariableError(variable, 'is not a Redis URL: it must begin with redis:// or rediss://.');
  }
  const { username, password, pathname, searchParams } = new URL(url);
  if (!isDecodable(username) || !isDecodable(password)) {
    throw new VariableError(variable, 'contains a user or password with a bare %: write %25.');
  }
  // ioredis would select database NaN, and reject a promise that nobody can catch.
  if (![pathname.slice(1), searchParams.get('db') ?? ''].every((database) => /^\d{0,9}$/.test(database))) {
    throw new VariableError(
      variable,
      'has a database that is not a number, such as the 0 in redis://localhost:6379/0.',
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

// Commands are never queued and never sent twice: a repeated claim would find itself. Our own code reconnects, since the timers of
// ioredis would keep a process alive, and so would its wait for the end of a closed connection. The ready check is ours, too: see
// `askRedis()`.
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
 * Creates our own client for a source, with our own options. It is not connected yet.
 *
 * @param module null if the source is a client, since that knows its module
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
