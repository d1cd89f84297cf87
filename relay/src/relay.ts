import { randomInt, randomUUID } from 'node:crypto';
import type { AddressInfo, Socket } from 'node:net';
import type { Hono } from 'hono';
import type { WebSocket } from 'ws';
import { Share } from './limits/fair-share';
import { type Limits, readLimits } from './limits/limits';
import { createLog, type RelayLogEntry } from './log';
import { createApp, type RelayEnv } from './net/app';
import { createClientAddress, type TrustedProxies } from './net/client-address';
import { createGate } from './net/connection-limit';
import { Metrics } from './net/metrics';
import { RelayServer } from './net/server';
import { Sockets } from './net/sockets';
import type { Effect } from './room/effects';
import { Room } from './room/room';
import { Fleet } from './store/cluster';
import { checkRedis, type RedisClient } from './store/redis-client';

/** How a relay counts, and whom it tells. Every option may be left out; a wrong one is a TypeError. */
export interface RelayOptions {
  /** Whose X-Forwarded-For is believed: a number of proxies, 1 to 10, or networks; default: nobody's. */
  readonly trustedProxies?: TrustedProxies | undefined;
  /** Other limits than the usual ones. */
  readonly limits?: Partial<Limits> | undefined;
  /**
   * Through which several instances act as one: a URL (`redis://`, `rediss://`), which needs the package ioredis, or an
   * ioredis client, whose settings are used for connections of the relay's own. Default: this instance is the only one.
   */
  readonly redis?: string | RedisClient | undefined;
  /** Gets what happens; default: nothing is logged. */
  readonly log?: ((entry: RelayLogEntry) => void) | undefined;
}

/** A relay that listens once it is told to. */
export interface Relay {
  /** `GET /ws`, `/health`, `/ready` and `/metrics`; to be mounted or called in tests. Sockets need {@link listen}. */
  readonly app: Hono<RelayEnv>;
  /**
   * @param port 0 for any that is free
   * @param host an address of this machine; default: all
   * @returns where it listens
   * @throws Error with the code of the system where it cannot, such as `EADDRINUSE`; where Redis needs ioredis and that
   * is not installed. A Redis that does not answer is waited for 5 seconds, and then expected to come.
   */
  listen(port: number, host?: string): Promise<AddressInfo>;
  /**
   * Says `draining` to all who come, and closes when the last session has ended.
   *
   * @param graceMs after how many milliseconds it ends the sessions that are left; default 60,000
   * @throws TypeError where that is no number, or a negative one
   */
  drain(graceMs?: number): Promise<void>;
  /** Ends everything now. */
  close(): Promise<void>;
}

/** How many may be told at once that there is no room, beyond those for whom there is. */
const SPARE_SOCKETS = 500;
const OPTIONS = ['trustedProxies', 'limits', 'redis', 'log'];

/**
 * A relay for pairing: routes two machines to each other by a code of six digits, and knows nothing else.
 *
 * @throws TypeError for an option out of range
 * @see docs/self-hosting.md
 */
export function createRelay(options: RelayOptions = {}): Relay {
  for (const name of Object.keys(options)) {
    if (!OPTIONS.includes(name))
      throw new TypeError(`There is no option "${name}". It has: ${OPTIONS.join(', ')}.`);
  }
  const { redis } = options;
  if (redis !== undefined) checkRedis(redis);
  const limits = readLimits(options.limits);
  const clientAddress = createClientAddress(options.trustedProxies);
  const connections = new Share<Socket>({
    places: limits.sockets + SPARE_SOCKETS,
    evict: (connection) => connection.destroy(),
  });
  const gate = createGate(options.trustedProxies, limits, connections);
  const room = new Room<WebSocket>({
    limits,
    randomCode: () => randomInt(100_000, 1_000_000),
    randomId: randomUUID,
    isShared: redis !== undefined,
  });
  const metrics = new Metrics();
  const log = createLog(options.log);
  // Deadlines must not move when somebody sets the clock.
  const now = () => performance.now();
  const sockets = new Sockets({
    now,
    maxBodyBytes: limits.messageBytes,
    maxHeldBytes: limits.socketBytes,
    receive: (socket, frame) => perform(room.receive(socket, frame, now())),
    disconnect: (socket) => perform(room.disconnect(socket, now())),
    countCut: () => metrics.countCutSocket(),
  });
  const fleet =
    redis === undefined
      ? undefined
      : new Fleet<WebSocket>({
          ...{ redis, room, limits, now, perform },
          log: (outcome, reason) => log('redis', outcome, undefined, reason),
        });
  const app = createApp({
    clientAddress,
    status: () => (room.isDraining ? 'draining' : fleet?.isConnected === false ? 'unavailable' : 'ready'),
    metrics: () => {
      const { size, evicted } = room.shares.sockets;
      const bound = { places: limits.sockets, bytes: limits.socketBytes };
      const clients = { size, evicted, bytes: sockets.heldBytes, limits: bound };
      return metrics.toText(room, { connections, ...room.shares, sockets: clients }, fleet?.isConnected);
    },
    // Those that were told to go have heard it by now.
    isOverfull: () => room.counts.clients >= limits.sockets + SPARE_SOCKETS && !sockets.cutOldest(),
    countRefusedUpgrade: () => metrics.countRefusedUpgrade(),
    attach(socket, connection, address) {
      sockets.attach(socket, connection);
      perform(room.connect(socket, address, now()));
    },
  });

  function perform(effects: readonly Effect<WebSocket>[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'send':
          sockets.send(effect.to, effect.frame);
          break;
        case 'close':
          sockets.close(effect.to);
          break;
        case 'event':
          metrics.count(effect.event);
          log(effect.event.event, effect.event.outcome, effect.event.session);
          break;
        case 'tell':
          fleet?.tell(effect.instance, effect.message);
          break;
        default:
          fleet?.ask(effect);
      }
    }
  }

  function sweep(): void {
    perform(room.sweep(now()));
    sockets.sweep();
  }

  let server: RelayServer | undefined;
  let closed: Promise<void> | undefined;

  function close(): Promise<void> {
    closed ??= shut();
    return closed;
  }

  async function shut(): Promise<void> {
    perform(room.shut(now()));
    await server?.close();
    await fleet?.close();
    if (server !== undefined) log('stopped', 'closed');
  }

  return {
    app,
    async listen(port, host) {
      if (server !== undefined || closed !== undefined)
        throw new Error('This relay listens already, or has closed.');
      server = new RelayServer(app, limits.sockets + 2 * SPARE_SOCKETS, sweep, gate);
      try {
        await fleet?.start();
        const address = await server.listen(port, host);
        log('started', 'ready');
        return address;
      } catch (error) {
        await fleet?.close();
        server = undefined;
        throw error;
      }
    },
    async drain(graceMs = 60_000) {
      if (!(graceMs >= 0)) throw new TypeError('graceMs is a number of milliseconds, 0 or more.');
      if (!room.isDraining) log('draining', 'started');
      perform(room.drain());
      const untilMs = now() + graceMs;
      while (closed === undefined && server !== undefined && room.isBusy && now() < untilMs) {
        await new Promise((resolve) => setTimeout(resolve, Math.min(50, graceMs)));
      }
      await close();
    },
    close,
  };
}
