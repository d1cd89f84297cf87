import type { RedisClient, RedisNode } from './client';
import { loadIoRedis, toReason } from './load';
import { type RedisSource, toRedisClient } from './source';

const RETRY_MS = { first: 50, most: 1000 };

/** The errors of ioredis for a command without a connection. */
const CLOSED = /^Connection is closed|^Stream isn't writeable/;

/** While slots move, a node may still give the old answer for a while. */
const RELEARN_PAUSE_MS = 10;

/** The events of a connection. */
export interface ConnectionEvents {
  /** Commands can be sent, or a node has joined or left. Now it is unknown which Redis is behind the connection. */
  changed(): void;
  /** Commands fail. It reconnects itself. */
  lost(): void;
  /** For a subscribed connection. */
  message?(channel: string): void;
}

/**
 * Our own connection to a Redis, its master behind sentinels, or a cluster. It reconnects itself, throws no errors outside
 * of commands, and does not keep the process alive; a connection to a cluster does, until it is closed.
 */
export class RedisConnection {
  #client: RedisClient | null = null;
  #reason: Error | null = null;
  #retryMs = RETRY_MS.first;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(
    source: RedisSource,
    private readonly events: ConnectionEvents,
    options: object = {},
  ) {
    this.#open(source, options).catch((error) => this.failed(error));
  }

  /** Null until ioredis is loaded, or if it is not installed. */
  get client(): RedisClient | null {
    return this.#client;
  }

  /** Why there is no connection; null if there is one. */
  get reason(): Error | null {
    return this.#reason;
  }

  get isReady(): boolean {
    return this.#client?.status === 'ready';
  }

  get isCluster(): boolean {
    return this.#client?.isCluster === true;
  }

  /** The nodes for writes: one, or the currently known masters of a cluster. */
  masters(): readonly RedisNode[] {
    const client = this.#client;
    if (client === null) return [];
    return client.nodes?.('master') ?? [client];
  }

  /** Learns which node has which slots of a cluster. ioredis does not learn that after a pipeline with several errors. */
  relearn(): Promise<void> {
    return new Promise((resolve) => {
      const { client } = this;
      if (client?.refreshSlotsCache === undefined) resolve();
      else client.refreshSlotsCache(() => setTimeout(resolve, RELEARN_PAUSE_MS));
    });
  }

  /** Notes that the connection works. */
  succeeded(): void {
    this.#reason = null;
    this.#retryMs = RETRY_MS.first;
  }

  /** Notes a fault of the connection, or of the Redis behind it. */
  failed(error: Error): void {
    // "Connection is closed" must not hide an earlier, more precise reason.
    if (this.#reason === null || !CLOSED.test(error.message)) this.#reason = toReason(error);
    // Otherwise it would continue in database 0.
    if ((error as { command?: { name?: unknown } }).command?.name === 'select') this.#client?.disconnect();
  }

  /** Closes it permanently. Pending commands fail. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#client?.disconnect();
  }

  async #open(source: RedisSource, options: object): Promise<void> {
    const module = source.kind === 'client' ? null : await loadIoRedis();
    if (this.#isClosed) return;
    const client = toRedisClient(source, module, options);
    this.#client = client;
    const { changed, lost, message } = this.events;
    client.on('error', (error: Error) => this.failed(error));
    client.on('node error', (error: Error) => this.failed(error));
    client.on('connect', () => client.stream?.unref?.());
    client.on('ready', () => changed());
    if (message !== undefined) client.on('message', (channel: string) => message(channel));
    client.on('close', () => lost());
    client.on('+node', (node: RedisNode) => {
      node.on('connect', () => node.stream?.unref?.());
      changed();
    });
    client.on('-node', () => changed());
    client.on('end', () => this.#later());
    this.#connect();
  }

  #connect(): void {
    this.#client?.connect().catch((error) => this.failed(error));
  }

  #later(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), this.#retryMs).unref();
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS.most);
  }
}
