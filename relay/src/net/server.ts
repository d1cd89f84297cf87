import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { WebSocketServer } from 'ws';
import { Deadlines } from '../limits/deadlines';
import type { RelayApp } from './app';
import type { ConnectionLimit } from './connection-limit';
import { AwaitedResponse, answerOtherUpgrades } from './upgrades';

/** The largest frame per byte of its body: every byte may be escaped as six. */
const MAX_FRAME_BYTES = 64 * 1024;
/** The most fragments of a message. Each fragment, however small, keeps the whole read in memory that it came in: up to 64 KiB. */
const MAX_FRAGMENTS = 32;
/** The most reads for one frame. Each takes some hundred bytes in addition to its content. */
const MAX_CHUNKS = 1024;
/** How long a connection may take for a request or an upgrade, even if it keeps sending. */
const HANDSHAKE_MS = 5_000;
/** Requests of one connection: enough to read the metrics, too few to keep the relay busy. */
const MAX_REQUESTS = 100;
/** How long closing all connections may take. */
const CLOSE_MS = 2_000;
/** How often deadlines are checked. */
const SWEEP_MS = 250;

export interface RelayServerOptions {
  readonly app: RelayApp;
  readonly maxConnections: number;
  readonly limitConnection: ConnectionLimit;
  /** Ends everything past its deadline. Called a few times a second. */
  readonly sweep: () => void;
}

/** The HTTP server of a relay. */
export class RelayServer {
  readonly #server: Server;
  readonly #sweep: () => void;
  readonly #connections = new Set<Socket>();
  /** Connections that are not WebSockets, by the time they opened or last sent a whole request. */
  readonly #handshaking = new Deadlines<Socket>(HANDSHAKE_MS);
  #listening: Promise<unknown> | undefined;
  #isClosed = false;

  constructor({ app, maxConnections, limitConnection, sweep }: RelayServerOptions) {
    const sockets = createWebSocketServer();
    sockets.on('connection', (_, { socket }) => this.#handshaking.delete(socket));
    this.#server = createAdaptorServer({
      fetch: app.fetch as never,
      websocket: { server: sockets as never },
      serverOptions: {
        headersTimeout: HANDSHAKE_MS,
        requestTimeout: HANDSHAKE_MS,
        maxHeaderSize: 8192,
        ServerResponse: AwaitedResponse,
      },
    }) as Server;
    answerOtherUpgrades(this.#server);
    this.#server.maxConnections = maxConnections;
    this.#server.maxRequestsPerSocket = MAX_REQUESTS;
    this.#server.on('request', ({ socket }) => this.#handshaking.add(socket, performance.now()));
    this.#server.on('connection', (connection: Socket) => {
      // Node removes its own listener at an upgrade, and any client can reset its connection then.
      connection.on('error', () => {});
      this.#connections.add(connection);
      this.#handshaking.add(connection, performance.now());
      connection.on('close', () => {
        this.#connections.delete(connection);
        this.#handshaking.delete(connection);
      });
      limitConnection(connection);
    });
    this.#sweep = () => {
      sweep();
      for (const connection of this.#handshaking.take(performance.now())) connection.destroy();
    };
  }

  /**
   * @throws Error with the code of the system if it cannot listen, such as `EADDRINUSE`; Error if it was closed before
   */
  async listen(port: number, host: string | undefined): Promise<AddressInfo> {
    if (this.#isClosed) throw new Error('This relay has closed.');
    this.#server.listen(port, host);
    this.#listening = once(this.#server, 'listening');
    await this.#listening;
    const timer = setInterval(this.#sweep, SWEEP_MS);
    this.#server.once('close', () => clearInterval(timer));
    return this.#server.address() as AddressInfo;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#listening?.catch(() => {});
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    // Data for a client must reach it before its connection is closed.
    const timer = setTimeout(() => this.#destroyAll(), CLOSE_MS);
    this.#server.closeIdleConnections?.();
    await closed;
    clearTimeout(timer);
  }

  #destroyAll(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}

function createWebSocketServer(): WebSocketServer {
  return new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    autoPong: false,
    maxPayload: MAX_FRAME_BYTES,
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: MAX_CHUNKS,
  });
}
