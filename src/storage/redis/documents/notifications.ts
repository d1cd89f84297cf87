import { within } from '../../../core/within';
import { RedisConnection } from '../connection';
import type { RedisSource } from '../source';
import { TIMEOUT_MS } from './commands';

/** The connection of a document store that hears about changes. It begins with the first watcher. */
export class RedisNotifications {
  readonly #source: RedisSource;
  readonly #everyMs: number;
  readonly #tick: () => void;
  #connection: RedisConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #watched = new Map<string, (() => void)[]>();

  /**
   * @param everyMs how often to check the connection: one that only listens does not notice when its peer disappears silently
   * @param tick called as often
   */
  constructor(source: RedisSource, everyMs: number, tick: () => void) {
    this.#source = source;
    this.#everyMs = everyMs;
    this.#tick = tick;
  }

  /** @param changed also called after each interruption, since something may have been published in the meantime */
  watch(channel: string, changed: () => void): void {
    this.#watched.set(channel, [...(this.#watched.get(channel) ?? []), changed]);
    this.#connection ??= this.#open();
    this.#subscribe(this.#connection);
  }

  /** It then connects again, to what is behind the address now. */
  disconnect(): void {
    this.#connection?.client?.disconnect();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#connection?.close();
  }

  #open(): RedisConnection {
    const connection: RedisConnection = new RedisConnection(
      this.#source,
      {
        changed: () => this.#subscribe(connection),
        lost: () => {},
        message: (channel) => {
          for (const changed of this.#watched.get(channel) ?? []) changed();
        },
      },
      { autoResubscribe: false },
    );
    this.#timer = setInterval(() => {
      this.#ping(connection);
      this.#tick();
    }, this.#everyMs).unref();
    return connection;
  }

  /** Any reply shows that the connection works. */
  #ping({ client, isReady, isCluster }: RedisConnection): void {
    if (client === null || !isReady || isCluster) return; // a cluster subscribes with another connection
    const silent = () => {
      client.disconnect(); // it reconnects itself
      return new Error('It does not respond.');
    };
    within(TIMEOUT_MS, () => client.ping(), silent).catch(() => {});
  }

  #subscribe(connection: RedisConnection): void {
    if (!connection.isReady || connection.client === null) return;
    connection.client.subscribe(...this.#watched.keys()).then(
      () => {
        connection.succeeded();
        // Something may have been published before this subscription.
        for (const changed of [...this.#watched.values()].flat()) changed();
      },
      () => {}, // the connection reconnects; until then, the store is polled
    );
  }
}
