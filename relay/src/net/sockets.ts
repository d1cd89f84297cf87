import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { Deadlines } from '../limits/deadlines';
import { HeldBytes } from '../limits/held-bytes';
import { type ClientFrame, type FrameFault, type RelayFrame, readFrame } from '../wire/frames';

/** The most bytes that wait for a client that does not read: all messages of a session, even if every byte is escaped. */
const MAX_BUFFERED_BYTES = 512 * 1024;
/** The most pings of one client: a session is too short to need more. */
const MAX_PINGS = 64;
/** The most bytes of an incomplete message: the largest frame, and as much again. */
const MAX_UNFINISHED_BYTES = 128 * 1024;
/** The overhead of each read of such a message. */
const BYTES_PER_READ = 256;
/** The most bytes of a frame's header. */
const HEADER_BYTES = 14;
/** How long a client may take to close. */
const CLOSE_MS = 2_000;

export interface SocketsOptions {
  readonly maxBodyBytes: number;
  /** The most bytes that all sockets together may hold, in incomplete and in unread messages. */
  readonly maxHeldBytes: number;
  readonly now: () => number;
  /** Called when a client has sent a frame, or a frame that cannot be read. */
  readonly receive: (socket: WebSocket, frame: ClientFrame | FrameFault) => void;
  /** Called when a socket has closed, from either end. */
  readonly disconnect: (socket: WebSocket) => void;
  /** Called when a socket was cut, because its client did not read, finish or close. */
  readonly countCut: () => void;
}

/** The WebSockets of the clients. None holds more bytes than its limit, and none stays open after it was closed. */
export class Sockets {
  readonly #options: SocketsOptions;
  readonly #closing = new Deadlines<WebSocket>(CLOSE_MS);
  readonly #unfinished = new WeakMap<WebSocket, number>();
  readonly #held = new HeldBytes<WebSocket>();

  constructor(options: SocketsOptions) {
    this.#options = options;
  }

  /** How many bytes all sockets hold. */
  get heldBytes(): number {
    return this.#held.total;
  }

  /**
   * Starts reading a socket.
   *
   * @param connection the TCP connection that carries it
   */
  attach(socket: WebSocket, connection: Socket): void {
    const { maxBodyBytes, receive, disconnect } = this.#options;
    this.#watchReads(socket, connection);
    let pings = 0;
    socket.on('message', (data, isBinary) => {
      receive(socket, isBinary ? { fault: 'bad_message' } : readFrame(String(data), maxBodyBytes));
    });
    // We answer pings ourselves: the pongs of ws would pile up if the client does not read them.
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
    socket.send(JSON.stringify(frame), () => this.#updateHeld(socket));
    if (socket.bufferedAmount > MAX_BUFFERED_BYTES) this.#cut(socket);
    else this.#updateHeld(socket);
  }

  /** Closes a socket after everything was sent to it. */
  close(socket: WebSocket): void {
    socket.close(1000);
    this.#closing.add(socket, this.#options.now());
  }

  /** Cuts the sockets that take too long to close. */
  sweep(): void {
    for (const socket of this.#closing.take(this.#options.now())) this.#cut(socket);
  }

  /** Cuts the socket that has been closing for longest. @returns whether there was one */
  cutOldest(): boolean {
    const oldest = this.#closing.takeFirst();
    if (oldest !== undefined) this.#cut(oldest);
    return oldest !== undefined;
  }

  /** Counts the bytes of incomplete messages. A part of a message keeps its whole read in memory, including pings and pongs. */
  #watchReads(socket: WebSocket, connection: Socket): void {
    let [bytes, reads, lastBytes] = [0, 0, 0];
    const update = () => {
      const unfinished = bytes + reads * BYTES_PER_READ;
      this.#unfinished.set(socket, unfinished);
      if (unfinished > MAX_UNFINISHED_BYTES) this.#cut(socket);
      else this.#updateHeld(socket);
    };
    // Runs before the WebSocket reads the chunk and emits its messages.
    connection.prependListener('data', (chunk) => {
      [bytes, reads, lastBytes] = [bytes + chunk.length, reads + 1, chunk.length];
      update();
    });
    socket.on('message', (data) => {
      // Bytes after a whole message came in one read with its end.
      bytes = Math.min(Math.max(0, bytes - (data as Buffer).length - HEADER_BYTES), lastBytes);
      reads = bytes === 0 ? 0 : 1;
      update();
    });
    socket.on('ping', ({ length }) => {
      bytes = Math.max(0, bytes - length - HEADER_BYTES);
      if (bytes === 0) reads = 0;
      update();
    });
  }

  #updateHeld(socket: WebSocket): void {
    const isClosed = socket.readyState === socket.CLOSED;
    this.#held.set(socket, isClosed ? 0 : socket.bufferedAmount + (this.#unfinished.get(socket) ?? 0));
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
