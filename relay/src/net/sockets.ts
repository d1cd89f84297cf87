import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { Deadlines } from '../limits/deadlines';
import { HeldBytes } from '../limits/held-bytes';
import { type ClientFrame, type Fault, type RelayFrame, readFrame } from '../wire/frames';

/** What may wait for a client that does not read, in bytes. All of a session fits in, however it is escaped. */
const MAX_BUFFERED_BYTES = 512 * 1024;
const MAX_PINGS = 64;
/** What may have come from a client that is no whole message yet: the largest frame, and as much again. */
const MAX_UNFINISHED_BYTES = 128 * 1024;
/** What a part of a message takes beside its own bytes, for each read in which it came. */
const BYTES_PER_READ = 256;
/** The header of a frame, at most. */
const HEADER_BYTES = 14;
/** How long a closing client may take. */
const CLOSE_MS = 2_000;

export interface SocketsOptions {
  readonly maxBodyBytes: number;
  /** What all clients together may hold here: what they have not read, and what they have not finished. */
  readonly maxHeldBytes: number;
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
  readonly #unfinished = new WeakMap<WebSocket, number>();
  readonly #held = new HeldBytes<WebSocket>();

  constructor(options: SocketsOptions) {
    this.#options = options;
  }

  /** What all of them hold here, in bytes. */
  get heldBytes(): number {
    return this.#held.total;
  }

  /**
   * Hears what a socket says from now on.
   *
   * @param connection that it goes over
   */
  attach(socket: WebSocket, connection: Socket): void {
    const { maxBodyBytes, receive, disconnect } = this.#options;
    this.#watch(socket, connection);
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
      this.#held.set(socket, 0);
      disconnect(socket);
    });
  }

  send(socket: WebSocket, frame: RelayFrame): void {
    if (socket.readyState !== socket.OPEN) return;
    socket.send(JSON.stringify(frame), () => this.#count(socket));
    if (socket.bufferedAmount > MAX_BUFFERED_BYTES) this.#cut(socket);
    else this.#count(socket);
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

  /** Cuts the one that has been closing for longest. @returns whether there was one */
  cutOldest(): boolean {
    const oldest = this.#closing.takeFirst();
    if (oldest !== undefined) this.#cut(oldest);
    return oldest !== undefined;
  }

  /** Counts what comes in parts. A part holds on to all that came in one read with it, pings and pongs included. */
  #watch(socket: WebSocket, connection: Socket): void {
    let [bytes, reads, lastBytes] = [0, 0, 0];
    const count = () => {
      const held = bytes + reads * BYTES_PER_READ;
      this.#unfinished.set(socket, held);
      if (held > MAX_UNFINISHED_BYTES) this.#cut(socket);
      else this.#count(socket);
    };
    // Before the WebSocket reads it, and says what it was.
    connection.prependListener('data', (chunk) => {
      [bytes, reads, lastBytes] = [bytes + chunk.length, reads + 1, chunk.length];
      count();
    });
    socket.on('message', (data) => {
      // What came after a whole message came in one read with its end.
      bytes = Math.min(Math.max(0, bytes - (data as Buffer).length - HEADER_BYTES), lastBytes);
      reads = bytes === 0 ? 0 : 1;
      count();
    });
    socket.on('ping', ({ length }) => {
      bytes = Math.max(0, bytes - length - HEADER_BYTES);
      if (bytes === 0) reads = 0;
      count();
    });
  }

  #count(socket: WebSocket): void {
    const isGone = socket.readyState === socket.CLOSED;
    this.#held.set(socket, isGone ? 0 : socket.bufferedAmount + (this.#unfinished.get(socket) ?? 0));
    if (this.#held.total <= this.#options.maxHeldBytes) return;
    const largest = this.#held.largest();
    if (largest !== undefined) this.#cut(largest);
  }

  #cut(socket: WebSocket): void {
    if (socket.readyState === socket.CLOSED) return;
    this.#options.countCut();
    this.#held.set(socket, 0);
    socket.terminate();
  }
}
