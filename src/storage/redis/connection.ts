import type { RedisClient, RedisNode } from './client';
import { loadIoRedis } from './load';
import { toReason } from './reason';
import { type RedisSource, toRedisClient } from './source';

const RETRY_MS = { first: 50, most: 1000 };

/** The errors of ioredis for a command without a connection. */
const CLOSED = /^Connection is closed|^Stream isn't writeable/;

/** While keys move, the answer may be the same for a while. */
const RELEARN_PAUSE_MS = 10;

/** What happens to a connection. */
export interface ConnectionEvents {
  /** Commands can be sent, or a node has joined or left. Nothing is known of what is behind it. */
  changed(): void;
  /** Commands fail. It connects anew by itself. */
  lost(): void;
  /** For one that subscribes. */
  message?(channel: string): void;
}

/**
 * A connection of our own to a Redis, its master behind sentinels, or a cluster. Connects anew by itself, throws no
 * error outside of a command, and keeps no process alive (a cluster does, until it is closed).
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

  /** Null until ioredis is loaded, and where it is not installed. */
  get client(): RedisClient | null {
    return this.#client;
  }

  /** Why there is no connection, where there is none. */
  get reason(): Error | null {
    return this.#reason;
  }

  get isReady(): boolean {
    return this.#client?.status === 'ready';
  }

  get isCluster(): boolean {
    return this.#client?.isCluster === true;
  }

  /** Where writes go: one, or the masters of a cluster as they are known at this moment. */
  masters(): readonly RedisNode[] {
    const client = this.#client;
    if (client === null) return [];
    return client.nodes?.('master') ?? [client];
  }

  /** Learns anew who has which keys of a cluster. A pipeline that meets several errors does not lead ioredis to it. */
  relearn(): Promise<void> {
    return new Promise((resolve) => {
      const { client } = this;
      if (client?.refreshSlotsCache === undefined) resolve();
      else client.refreshSlotsCache(() => setTimeout(resolve, RELEARN_PAUSE_MS));
    });
  }

  /** The connection answered as it should. */
  succeeded(): void {
    this.#reason = null;
    this.#retryMs = RETRY_MS.first;
  }

  /** Something is wrong with it, or with what is behind it. */
  failed(error: Error): void {
    // That it is closed says nothing where something before has said why.
    if (this.#reason === null || !CLOSED.test(error.message)) this.#reason = toReason(error);
    // It would go on, in the database 0.
    if ((error as { command?: { name?: unknown } }).command?.name === 'select') this.#client?.disconnect();
  }

  /** Ends it for good. What is on its way fails. */
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
