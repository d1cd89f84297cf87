import { randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createAdaptorServer, upgradeWebSocket } from '@hono/node-server';
import { Hono } from 'hono';
import { type WebSocket, WebSocketServer } from 'ws';
import { AddressCount } from './address-limits';
import { createClientAddress, createProxyTest, type TrustedProxies, toLimitKey } from './client-address';
import { Deadlines } from './deadlines';
import type { Effect } from './effects';
import { Fleet } from './fleet';
import { readFrame } from './frames';
import { type Limits, readLimits } from './limits';
import { Metrics } from './metrics';
import { checkRedis, type RedisClient } from './redis-client';
import { Room } from './room';

/** One thing that happened. Never has codes, bodies, names, keys or addresses. */
export interface RelayLogEntry {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly event: string;
  /** A random id of the session. */
  readonly session?: string;
  readonly outcome: string;
  /** Why Redis is away: what the system or Redis calls it, such as `ECONNREFUSED`, `WRONGPASS` or `timeout`. */
  readonly reason?: string;
}

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
   */
  drain(graceMs?: number): Promise<void>;
  /** Ends everything now. */
  close(): Promise<void>;
}

export interface RelayEnv {
  Bindings: { incoming: IncomingMessage };
}

/** How often deadlines are looked at, in milliseconds. */
const SWEEP_MS = 250;
/** What may wait for a client that does not read, in bytes. All of a session fits in, however it is escaped. */
const MAX_BUFFERED_BYTES = 512 * 1024;
/** A frame may take six bytes for each byte of its body, where all are escaped. */
const MAX_FRAME_BYTES = 64 * 1024;
const MAX_PINGS = 64;
/** How long a closing client may take, and a connection until it is a WebSocket. */
const CLOSE_MS = 2_000;
const HANDSHAKE_MS = 5_000;
/** How many may be told at once that there is no room, beyond those for whom there is. */
const SPARE_SOCKETS = 500;
const MAX_REFUSALS_LOGGED_PER_SECOND = 10;
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
  const isProxy = createProxyTest(options.trustedProxies);
  const connections = new AddressCount();
  const room = new Room<WebSocket>({
    limits,
    randomCode: () => randomInt(100_000, 1_000_000),
    randomId: randomUUID,
    isShared: redis !== undefined,
  });
  const metrics = new Metrics();
  const log = createLog(options.log);
  const closing = new Deadlines<WebSocket>(CLOSE_MS);
  // Deadlines must not move when somebody sets the clock.
  const now = () => performance.now();
  const fleet =
    redis === undefined
      ? undefined
      : new Fleet<WebSocket>({
          ...{ redis, room, limits, now, perform },
          log: (outcome, reason) => log('redis', outcome, undefined, reason),
        });

  const app = new Hono<RelayEnv>();
  app.get('/health', (c) => c.json({ status: 'ok' }));
  app.get('/ready', (c) => {
    if (room.isDraining) return c.json({ status: 'draining' }, 503);
    if (fleet?.isConnected === false) return c.json({ status: 'unavailable' }, 503);
    return c.json({ status: 'ready' });
  });
  app.get('/metrics', (c) =>
    c.text(metrics.toText(room, fleet?.isConnected), 200, {
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
    }),
  );
  app.get(
    '/ws',
    async (c, next) => {
      const refusal = refuseUpgrade(c.req.header('origin'), room.counts.clients);
      if (refusal === undefined) return next();
      metrics.countRefusedUpgrade();
      return refusal;
    },
    upgradeWebSocket((c) => {
      const address = toLimitKey(clientAddress(c.env.incoming));
      return {
        onOpen(_, { raw }) {
          const socket = raw as unknown as WebSocket;
          // The listeners that are added after this one would keep the request of each upgrade in memory for as long
          // as its socket is open: 3 KB, ten thousand times.
          queueMicrotask(() => {
            socket.removeAllListeners();
            attach(socket, address);
          });
        },
      };
    }),
    // Somebody who looks at it with a browser or curl.
    (c) => c.text('This is a WebSocket.', 426, { upgrade: 'websocket' }),
  );

  function refuseUpgrade(origin: string | undefined, clients: number): Response | undefined {
    // Only browsers send it, and no page has any business here.
    if (origin !== undefined) return new Response(null, { status: 403 });
    // There is a limit to how many can be told in a frame.
    if (clients >= limits.sockets + SPARE_SOCKETS) return new Response(null, { status: 503 });
    return undefined;
  }

  /** Most that connect become sockets at once. Those of one address that never do must not shut out all others. */
  function admit(connection: Socket): void {
    if (isProxy(connection)) return;
    const address = toLimitKey(clientAddress({ socket: connection, headers: {} }));
    // As many again as may stay, so that those too many are told why.
    if (connections.of(address) >= 2 * limits.socketsPerAddress) {
      connection.destroy();
      return;
    }
    connections.add(address);
    connection.on('close', () => connections.remove(address));
  }

  function attach(socket: WebSocket, address: string): void {
    let pings = 0;
    socket.on('message', (data, isBinary) => {
      const frame = isBinary
        ? ({ fault: 'bad_message' } as const)
        : readFrame(String(data), limits.messageBytes);
      perform(room.receive(socket, frame, now()));
    });
    // By hand, since answers to pings pile up where nobody reads them.
    socket.on('ping', (data) => {
      if (socket.readyState !== socket.OPEN) return;
      if (++pings > MAX_PINGS || socket.bufferedAmount > MAX_BUFFERED_BYTES) cut(socket);
      else socket.pong(data);
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      closing.delete(socket);
      perform(room.disconnect(socket, now()));
    });
    perform(room.connect(socket, address, now()));
  }

  function perform(effects: readonly Effect<WebSocket>[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'send':
          if (effect.to.readyState !== effect.to.OPEN) break;
          effect.to.send(JSON.stringify(effect.frame));
          if (effect.to.bufferedAmount > MAX_BUFFERED_BYTES) cut(effect.to);
          break;
        case 'close':
          effect.to.close(1000);
          closing.add(effect.to, now());
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

  function cut(socket: WebSocket): void {
    metrics.countCutSocket();
    socket.terminate();
  }

  function sweep(): void {
    perform(room.sweep(now()));
    for (const socket of closing.take(now())) cut(socket);
  }

  let running: Running | undefined;
  return {
    app,
    async listen(port, host) {
      if (running !== undefined) throw new Error('This relay listens already, or has closed.');
      await fleet?.start();
      const server = new Running(app, limits.sockets + 2 * SPARE_SOCKETS, sweep, admit);
      const address = await server.listen(port, host).catch(async (error) => {
        await fleet?.close();
        throw error;
      });
      running = server;
      log('started', 'ready');
      return address;
    },
    async drain(graceMs = 60_000) {
      if (!room.isDraining) log('draining', 'started');
      perform(room.drain());
      const untilMs = now() + graceMs;
      while (running !== undefined && room.isBusy && now() < untilMs) {
        await new Promise((resolve) => setTimeout(resolve, Math.min(50, graceMs)));
      }
      await this.close();
    },
    async close() {
      perform(room.shut(now()));
      if (running?.isOpen === true) {
        await running.close();
        await fleet?.close();
        log('stopped', 'closed');
      }
    },
  };

  function createLog(write: RelayOptions['log']) {
    let second = 0;
    let refusals = 0;
    return (event: string, outcome: string, session?: string, reason?: string) => {
      // Every message would be a line, and says nothing.
      if (write === undefined || event === 'message') return;
      const time = new Date();
      if (event === 'refused' && session === undefined) {
        // A stranger must not be able to fill a disk; the metrics count them all.
        const current = Math.floor(time.getTime() / 1000);
        if (current !== second) refusals = 0;
        second = current;
        if (++refusals > MAX_REFUSALS_LOGGED_PER_SECOND) return;
      }
      const more = {
        ...(session === undefined ? {} : { session }),
        ...(reason === undefined ? {} : { reason }),
      };
      write({ time: time.toISOString(), event, outcome, ...more });
    };
  }
}

/** The server of a relay that listens. */
class Running {
  readonly #sockets: WebSocketServer;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;
  isOpen = false;

  constructor(
    app: Hono<RelayEnv>,
    maxConnections: number,
    sweep: () => void,
    admit: (connection: Socket) => void,
  ) {
    this.#sockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: MAX_FRAME_BYTES,
    });
    this.#server = createAdaptorServer({
      fetch: app.fetch as never,
      websocket: { server: this.#sockets as never },
      serverOptions: { headersTimeout: HANDSHAKE_MS, requestTimeout: HANDSHAKE_MS, maxHeaderSize: 8192 },
    }) as Server;
    this.#server.maxConnections = maxConnections;
    this.#server.on('connection', (connection: Socket) => {
      this.#connections.add(connection);
      connection.on('close', () => this.#connections.delete(connection));
      // Also for one that asks to upgrade to something that nobody answers. A WebSocket takes it off again.
      connection.setTimeout(HANDSHAKE_MS, () => connection.destroy());
      admit(connection);
    });
    this.#timer = setInterval(sweep, SWEEP_MS);
  }

  async listen(port: number, host: string | undefined): Promise<AddressInfo> {
    try {
      this.#server.listen(port, host);
      await once(this.#server, 'listening');
    } catch (error) {
      clearInterval(this.#timer);
      throw error;
    }
    this.isOpen = true;
    return this.#server.address() as AddressInfo;
  }

  async close(): Promise<void> {
    this.isOpen = false;
    const closed = once(this.#server, 'close');
    this.#server.close();
    // What was told to a client has to reach it before its connection ends.
    const patience = setTimeout(() => this.#destroyAll(), CLOSE_MS);
    this.#server.closeIdleConnections?.();
    await closed;
    clearTimeout(patience);
    clearInterval(this.#timer);
  }

  #destroyAll(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}
