import type { AddressInfo, Socket } from 'node:net';
import type { Hono } from 'hono';
import { FairShare } from './limits/fair-share';
import { assertObject, type Limits, readLimits } from './limits/limits';
import { createLog, type Log, type RelayLogEntry } from './log';
import { createApp, type RelayEnv } from './net/app';
import { createClientAddress, type TrustedProxies } from './net/client-address';
import { createConnectionLimit } from './net/connection-limit';
import { RelayServer } from './net/server';
import { RoomHost, SPARE_SOCKETS } from './room-host';
import { checkRedis, type RedisClient } from './store/redis-client';

/** The options of a relay. Every option is optional; a wrong one is a TypeError. */
export interface RelayOptions {
  /** The trusted proxies, whose X-Forwarded-For is used: their number, 1 to 10, or their networks; default: none. */
  readonly trustedProxies?: TrustedProxies | undefined;
  /** Limits that differ from the defaults. */
  readonly limits?: Partial<Limits> | undefined;
  /**
   * The Redis through which several instances act as one: a URL (`redis://`, `rediss://`), which needs the package ioredis,
   * or an ioredis client, with whose settings the relay makes its own connections. Default: a single instance.
   */
  readonly redis?: string | RedisClient | undefined;
  /** Called with each log entry; default: nothing is logged. */
  readonly log?: ((entry: RelayLogEntry) => void) | undefined;
}

/** A relay, which does not listen yet. */
export interface Relay {
  /** `GET /ws`, `/health`, `/ready` and `/metrics`, to mount or to call in tests. Sockets need {@link listen}. */
  readonly app: Hono<RelayEnv>;
  /**
   * @param port the port; 0 for any free one
   * @param host an address of this machine; default: all
   * @returns the address and the port
   * @throws Error with the code of the system if it cannot listen, such as `EADDRINUSE`; Error if Redis needs ioredis, which is not
   *   installed. It waits up to 5 seconds for Redis, then listens and connects to Redis later.
   */
  listen(port: number, host?: string): Promise<AddressInfo>;
  /**
   * Sends `draining` to all new clients, and closes when the last session has ended.
   *
   * @param graceMs after how many milliseconds to end the remaining sessions; default 60,000
   * @throws TypeError if that is negative or not a number
   */
  drain(graceMs?: number): Promise<void>;
  /** Ends all sessions and closes immediately. */
  close(): Promise<void>;
}

const OPTIONS = ['trustedProxies', 'limits', 'redis', 'log'];
/** How often a drain checks whether the last session has ended. */
const DRAIN_POLL_MS = 50;

/**
 * Creates a relay for pairing. It connects two machines by a six-digit code and forwards their messages. It cannot read
 * them, and stores nothing.
 *
 * @throws TypeError for an unknown option or a wrong value
 * @see docs/self-hosting.md
 */
export function createRelay(options: RelayOptions = {}): Relay {
  assertObject('createRelay()', options);
  for (const name of Object.keys(options)) {
    if (!OPTIONS.includes(name))
      throw new TypeError(`Unknown option "${name}". The options are ${OPTIONS.join(', ')}.`);
  }
  const { trustedProxies, redis } = options;
  if (options.log !== undefined && typeof options.log !== 'function')
    throw new TypeError('log must be a function.');
  if (redis !== undefined) checkRedis(redis);
  const limits = readLimits(options.limits);
  const connections = new FairShare<Socket>({
    places: limits.sockets + SPARE_SOCKETS,
    evict: (connection) => connection.destroy(),
  });
  const clientAddress = createClientAddress(trustedProxies);
  const limitConnection = createConnectionLimit(trustedProxies, limits, connections);
  const log = createLog(options.log);
  const host = new RoomHost({ limits, redis, log });
  const app = createApp({
    clientAddress,
    status: () => host.status,
    metrics: () => host.metricsText(connections),
    makeSpace: () => host.makeSpace(),
    countRefusedUpgrade: () => host.metrics.countRefusedUpgrade(),
    attach: (socket, connection, address) => host.attach(socket, connection, address),
  });
  const createServer = () =>
    new RelayServer({
      app,
      maxConnections: limits.sockets + 2 * SPARE_SOCKETS,
      limitConnection,
      sweep: () => host.sweep(),
    });
  const lifecycle = new Lifecycle(host, createServer, log);
  return {
    app,
    listen: (port, host) => lifecycle.listen(port, host),
    drain: (graceMs) => lifecycle.drain(graceMs),
    close: () => lifecycle.close(),
  };
}

/** Starts a relay and shuts it down: each once, and in this order. */
class Lifecycle {
  readonly #host: RoomHost;
  readonly #createServer: () => RelayServer;
  readonly #log: Log;
  #server: RelayServer | undefined;
  #closed: Promise<void> | undefined;

  constructor(host: RoomHost, createServer: () => RelayServer, log: Log) {
    this.#host = host;
    this.#createServer = createServer;
    this.#log = log;
  }

  async listen(port: number, host: string | undefined): Promise<AddressInfo> {
    if (this.#server !== undefined || this.#closed !== undefined) {
      throw new Error('This relay is already listening or has closed.');
    }
    const server = this.#createServer();
    this.#server = server;
    try {
      await this.#host.start();
      const address = await server.listen(port, host);
      this.#log('started', 'ready');
      return address;
    } catch (error) {
      await this.#host.stop();
      this.#server = undefined;
      throw error;
    }
  }

  async drain(graceMs = 60_000): Promise<void> {
    if (!(graceMs >= 0)) throw new TypeError('graceMs must be a number of milliseconds, 0 or more.');
    if (this.#host.status !== 'draining') this.#log('draining', 'started');
    this.#host.drain();
    const untilMs = performance.now() + graceMs;
    while (this.#mustWait(untilMs)) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(DRAIN_POLL_MS, graceMs)));
    }
    await this.close();
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown();
    return this.#closed;
  }

  #mustWait(untilMs: number): boolean {
    const isOpen = this.#server !== undefined && this.#closed === undefined;
    return isOpen && this.#host.isBusy && performance.now() < untilMs;
  }

  async #shutDown(): Promise<void> {
    this.#host.endSessions();
    await this.#server?.close();
    await this.#host.stop();
    if (this.#server !== undefined) this.#log('stopped', 'closed');
  }
}
