/**
 * Our own types for the parts of ioredis that are used. It is an optional peer dependency with two major versions, and an
 * app without it must be able to compile against this package.
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

/** A connection to a single Redis, to a Redis behind sentinels, or to a Redis Cluster. */
export interface RedisClient extends RedisNode {
  readonly isCluster?: boolean | undefined;
  readonly options: object;
  /** Like `eval`, but returns bytes instead of text. */
  evalBuffer(
    script: string,
    keys: number,
    ...more: readonly (string | Uint8Array | number)[]
  ): Promise<unknown>;
  eval(script: string, keys: number, ...more: readonly (string | Uint8Array | number)[]): Promise<unknown>;
  subscribe(...channels: string[]): Promise<unknown>;
  /** Also works while subscribed. */
  ping(): Promise<unknown>;
  /** Only for a cluster, like the next method. */
  nodes?(role: 'master'): RedisNode[];
  /** Asks again which master has which slots. */
  refreshSlotsCache?(done: () => void): void;
}

/** A client of ioredis 5 or 6 that can be duplicated: `Redis` or `Cluster`. */
export interface IoRedis {
  /** The state of its connection, such as `ready`. */
  readonly status: string;
  /** The options with which it was created. */
  readonly options: object;
  /** A new client with the same options. */
  duplicate(...args: never[]): unknown;
}

/** The exports of ioredis that are used. */
export interface IoRedisModule {
  readonly Redis: new (...args: never[]) => unknown;
  readonly Cluster: new (...args: never[]) => unknown;
}

export function isIoRedis(value: object): value is IoRedis {
  const client = value as Partial<IoRedis>;
  return typeof client.duplicate === 'function' && typeof client.status === 'string' && 'options' in client;
}
