import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { WebSocketServer } from 'ws';
import type { RelayApp } from './app';
import type { Gate } from './gate';

/** A frame may take six bytes for each byte of its body, where all are escaped. */
const MAX_FRAME_BYTES = 64 * 1024;
/** How long a connection may take until it is a WebSocket. */
const HANDSHAKE_MS = 5_000;
/** How long all connections together may take to close. */
const CLOSE_MS = 2_000;
/** How often deadlines are looked at. */
const SWEEP_MS = 250;

/** The server of a relay that listens. */
export class RelayServer {
  readonly #sockets: WebSocketServer;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;
  isOpen = false;

  /** @param sweep ends what is over, a few times a second */
  constructor(app: RelayApp, maxConnections: number, sweep: () => void, gate: Gate) {
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
      gate(connection);
    });
    this.#timer = setInterval(sweep, SWEEP_MS);
  }

  /** @throws Error with the code of the system where it cannot, such as `EADDRINUSE` */
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
