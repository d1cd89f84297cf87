import { randomInt, randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { ShareUsage } from './limits/fair-share';
import type { Limits } from './limits/limits';
import type { Log } from './log';
import { Metrics } from './net/metrics';
import { Sockets } from './net/sockets';
import type { Effect } from './room/effects';
import { Room } from './room/room';
import { Cluster } from './store/cluster';
import type { RedisClient } from './store/redis-client';

/** How many sockets there may be beyond those with a place, so that their clients can learn the reason. */
export const SPARE_SOCKETS = 500;

export interface RoomHostOptions {
  readonly limits: Limits;
  readonly redis: string | RedisClient | undefined;
  readonly log: Log;
}

/** Runs a room: passes it the events of sockets and other instances, and carries out the effects that it returns. */
export class RoomHost {
  readonly metrics = new Metrics();
  readonly #room: Room<WebSocket>;
  readonly #sockets: Sockets;
  readonly #cluster: Cluster<WebSocket> | undefined;
  readonly #limits: Limits;
  readonly #log: Log;

  constructor({ limits, redis, log }: RoomHostOptions) {
    const room = new Room<WebSocket>({
      limits,
      randomCode: () => randomInt(100_000, 1_000_000),
      randomId: randomUUID,
      isClustered: redis !== undefined,
    });
    const perform = (effects: readonly Effect<WebSocket>[]) => this.#perform(effects);
    this.#room = room;
    this.#limits = limits;
    this.#log = log;
    this.#sockets = new Sockets({
      now,
      maxBodyBytes: limits.messageBytes,
      maxHeldBytes: limits.socketBytes,
      receive: (socket, frame) => perform(room.receive(socket, frame, now())),
      disconnect: (socket) => perform(room.disconnect(socket, now())),
      countCut: () => this.metrics.countCutSocket(),
    });
    if (redis === undefined) return;
    this.#cluster = new Cluster({
      redis,
      room,
      limits,
      now,
      perform,
      log: (outcome, reason) => log('redis', outcome, undefined, reason),
    });
  }

  get status(): 'ready' | 'draining' | 'unavailable' {
    if (this.#room.isDraining) return 'draining';
    return this.#cluster?.isConnected === false ? 'unavailable' : 'ready';
  }

  /** Whether a shutdown should wait for something. */
  get isBusy(): boolean {
    return this.#room.isBusy;
  }

  /** @param connections the share of connections, which the room does not know */
  metricsText(connections: ShareUsage): string {
    const { size, evicted } = this.#room.shares.sockets;
    const limits = { places: this.#limits.sockets, bytes: this.#limits.socketBytes };
    const sockets = { size, evicted, bytes: this.#sockets.heldBytes, limits };
    return this.metrics.toText({
      counts: this.#room.counts,
      shares: { connections, ...this.#room.shares, sockets },
      hasRedis: this.#cluster?.isConnected,
    });
  }

  /** Makes space for one more socket, if necessary by cutting one that does not close. @returns whether there is space */
  makeSpace(): boolean {
    const isFull = this.#room.counts.clients >= this.#limits.sockets + SPARE_SOCKETS;
    return !isFull || this.#sockets.cutOldest();
  }

  /** @param address the key that limits count by */
  attach(socket: WebSocket, connection: Socket, address: string): void {
    this.#sockets.attach(socket, connection);
    this.#perform(this.#room.connect(socket, address, now()));
  }

  /** Resolves when Redis is connected, or after a time limit. @throws Error if ioredis is not installed */
  async start(): Promise<void> {
    await this.#cluster?.start();
  }

  sweep(): void {
    this.#perform(this.#room.sweep(now()));
    this.#sockets.sweep();
  }

  /** Stops admitting new clients. */
  drain(): void {
    this.#perform(this.#room.drain());
  }

  /** Ends all sessions. */
  endSessions(): void {
    this.#perform(this.#room.close(now()));
  }

  /** Leaves the cluster. */
  async stop(): Promise<void> {
    await this.#cluster?.close();
  }

  #perform(effects: readonly Effect<WebSocket>[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'send':
          this.#sockets.send(effect.to, effect.frame);
          break;
        case 'close':
          this.#sockets.close(effect.to);
          break;
        case 'event':
          this.metrics.count(effect.event);
          this.#log(effect.event.event, effect.event.outcome, effect.event.session);
          break;
        case 'tell':
          this.#cluster?.tell(effect.instance, effect.message);
          break;
        default:
          this.#cluster?.ask(effect);
      }
    }
  }
}

/** The time for deadlines, which is unaffected if somebody sets the clock. */
function now(): number {
  return performance.now();
}
