/**
 * What is used of ioredis, as types of our own: it is an optional peer, in two majors, and an app that has not installed it
 * must be able to compile against this package.
 */
export interface RedisNode {
  readonly status: string;
  readonly stream?: { unref?(): void } | undefined;
  info(): Promise<string>;
  getrange(key: string, start: number, end: number): Promise<string>;
  set(key: string, value: string, ...more: readonly (string | number)[]): Promise<unknown>;
  pexpire(key: string, ms: number): Promise<number>;
  connect(): Promise<void>;
  disconnect(): void;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

/** A connection to one Redis, by itself or behind sentinels, or to a Redis Cluster. */
export interface RedisClient extends RedisNode {
  readonly isCluster?: boolean | undefined;
  readonly options: object;
  getBuffer(key: string): Promise<Uint8Array | null>;
  getrangeBuffer(key: string, start: number, end: number): Promise<Uint8Array>;
  eval(script: string, keys: number, ...more: readonly (string | Uint8Array | number)[]): Promise<unknown>;
  subscribe(...channels: string[]): Promise<unknown>;
  /** Also while it subscribes. */
  ping(): Promise<unknown>;
  /** Of a cluster, as the next one. */
  nodes?(role: 'master'): RedisNode[];
  /** Asks anew which master has which slots. */
  refreshSlotsCache?(done: () => void): void;
}

/** Anything of ioredis 5 or 6 that can be duplicated: `Redis` or `Cluster`. */
export interface IoRedis {
  /** The state of its connection, such as `ready`. */
  readonly status: string;
  /** The options with which it was made. */
  readonly options: object;
  /** A new client with the same options. */
  duplicate(...args: never[]): unknown;
}

/** What ioredis exports, as far as it is used. */
export interface IoRedisModule {
  readonly Redis: new (...args: never[]) => unknown;
  readonly Cluster: new (...args: never[]) => unknown;
}

export function isIoRedis(value: object): value is IoRedis {
  const client = value as Partial<IoRedis>;
  return typeof client.duplicate === 'function' && typeof client.status === 'string' && 'options' in client;
}
