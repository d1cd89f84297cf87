import type { WebSocket } from 'ws';
import { Deadlines } from './deadlines';
import { type ClientFrame, type Fault, type RelayFrame, readFrame } from './frames';

/** What may wait for a client that does not read, in bytes. All of a session fits in, however it is escaped. */
const MAX_BUFFERED_BYTES = 512 * 1024;
const MAX_PINGS = 64;
/** How long a closing client may take. */
const CLOSE_MS = 2_000;

export interface SocketsOptions {
  readonly maxBodyBytes: number;
  readonly now: () => number;
  /** A client has said something; a {@link Fault} where it could not be read. */
  readonly receive: (socket: WebSocket, frame: ClientFrame | Fault) => void;
  /** A client has gone, whoever closed it. */
  readonly disconnect: (socket: WebSocket) => void;
  /** One had to be cut, since it did not drain or close. */
  readonly countCut: () => void;
}

/** The clients' WebSockets, none of which holds more than its share, or stays when it has been closed. */
export class Sockets {
  readonly #options: SocketsOptions;
  readonly #closing = new Deadlines<WebSocket>(CLOSE_MS);

  constructor(options: SocketsOptions) {
    this.#options = options;
  }

  /** Hears what a socket says from now on. */
  attach(socket: WebSocket): void {
    const { maxBodyBytes, receive, disconnect } = this.#options;
    let pings = 0;
    socket.on('message', (data, isBinary) => {
      receive(socket, isBinary ? { fault: 'bad_message' } : readFrame(String(data), maxBodyBytes));
    });
    // By hand, since answers to pings pile up where nobody reads them.
    socket.on('ping', (data) => {
      if (socket.readyState !== socket.OPEN) return;
      if (++pings > MAX_PINGS || socket.bufferedAmount > MAX_BUFFERED_BYTES) this.#cut(socket);
      else socket.pong(data);
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      this.#closing.delete(socket);
      disconnect(socket);
    });
  }

  send(socket: WebSocket, frame: RelayFrame): void {
    if (socket.readyState !== socket.OPEN) return;
    socket.send(JSON.stringify(frame));
    if (socket.bufferedAmount > MAX_BUFFERED_BYTES) this.#cut(socket);
  }

  /** After all that was sent to it. */
  close(socket: WebSocket): void {
    socket.close(1000);
    this.#closing.add(socket, this.#options.now());
  }

  /** Cuts those that do not close. */
  sweep(): void {
    for (const socket of this.#closing.take(this.#options.now())) this.#cut(socket);
  }

  #cut(socket: WebSocket): void {
    this.#options.countCut();
    socket.terminate();
  }
}
