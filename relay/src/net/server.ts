import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { WebSocketServer } from 'ws';
import { Deadlines } from '../limits/deadlines';
import type { RelayApp } from './app';
import type { Gate } from './connection-limit';

/** A frame may take six bytes for each byte of its body, where all are escaped. */
const MAX_FRAME_BYTES = 64 * 1024;
/** Of a message, however small: each holds on to all that came in one read with it, which may be 64 KiB. */
const MAX_FRAGMENTS = 32;
/** In how many reads a frame may come: each takes some hundred bytes beside its own. */
const MAX_CHUNKS = 1024;
/** How long a connection may take for a request, the one to be a WebSocket included, whatever it says meanwhile. */
const HANDSHAKE_MS = 5_000;
/** How many requests a connection may make: enough to ask for the metrics, too few to keep the relay busy with it. */
const MAX_REQUESTS = 100;
/** How long all connections together may take to close. */
const CLOSE_MS = 2_000;
/** How often deadlines are looked at. */
const SWEEP_MS = 250;

/** The server of a relay that listens. */
export class RelayServer {
  readonly #server: Server;
  readonly #sweepAll: () => void;
  readonly #connections = new Set<Socket>();
  /** Those that are no WebSockets, since their last whole request. */
  readonly #early = new Deadlines<Socket>(HANDSHAKE_MS);
  #listening: Promise<unknown> | undefined;
  #isClosed = false;

  /** @param sweep ends what is over, a few times a second */
  constructor(app: RelayApp, maxConnections: number, sweep: () => void, gate: Gate) {
    const sockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: MAX_FRAME_BYTES,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_CHUNKS,
    });
    sockets.on('connection', (_, { socket }) => this.#early.delete(socket));
    this.#server = createAdaptorServer({
      fetch: app.fetch as never,
      websocket: { server: sockets as never },
      serverOptions: { headersTimeout: HANDSHAKE_MS, requestTimeout: HANDSHAKE_MS, maxHeaderSize: 8192 },
    }) as Server;
    this.#server.maxConnections = maxConnections;
    this.#server.maxRequestsPerSocket = MAX_REQUESTS;
    this.#server.on('request', ({ socket }) => this.#early.add(socket, performance.now()));
    this.#server.on('connection', (connection: Socket) => {
      this.#connections.add(connection);
      this.#early.add(connection, performance.now());
      connection.on('close', () => {
        this.#connections.delete(connection);
        this.#early.delete(connection);
      });
      gate(connection);
    });
    this.#sweepAll = () => {
      sweep();
      for (const connection of this.#early.take(performance.now())) connection.destroy();
    };
  }

  /**
   * @throws Error with the code of the system where it cannot, such as `EADDRINUSE`; where it was closed before
   */
  async listen(port: number, host: string | undefined): Promise<AddressInfo> {
    if (this.#isClosed) throw new Error('This relay has closed.');
    this.#server.listen(port, host);
    this.#listening = once(this.#server, 'listening');
    await this.#listening;
    const timer = setInterval(this.#sweepAll, SWEEP_MS);
    this.#server.once('close', () => clearInterval(timer));
    return this.#server.address() as AddressInfo;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#listening?.catch(() => {});
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    // What was told to a client has to reach it before its connection ends.
    const patience = setTimeout(() => this.#destroyAll(), CLOSE_MS);
    this.#server.closeIdleConnections?.();
    await closed;
    clearTimeout(patience);
  }

  #destroyAll(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}
