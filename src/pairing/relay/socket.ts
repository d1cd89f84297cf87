import type { AmeshError } from '../../core/errors/amesh-error';
import { waitAtMost } from '../../core/within';
import { type Endpoint, endpointOf, newSocket, type Socket, unreachable, waitForOpen } from './dial';
import { MAX_FRAME_BYTES, type RelayFrame, readRelayFrame } from './frame';

const CONNECT_MS = 10_000;
/** How long the relay may take to close the connection, in milliseconds. */
const CLOSE_MS = 2_000;
/** A session has at most 32 messages per side, so a relay that sends more is faulty. */
const MAX_WAITING_FRAMES = 64;

/** A connection to a relay. Its frames are read one at a time. */
export class RelaySocket {
  readonly #endpoint: Endpoint;
  readonly #socket: Socket;
  readonly #frames: RelayFrame[] = [];
  #failure: AmeshError | undefined;
  #wake: () => void = () => {};
  readonly #closed: Promise<void>;

  private constructor(endpoint: Endpoint, socket: Socket) {
    this.#endpoint = endpoint;
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => this.#take(data));
    socket.addEventListener('error', () => {}); // 'close' follows
    this.#closed = new Promise((resolve) => {
      socket.addEventListener('close', () => {
        this.#fail('closed the connection');
        resolve();
      });
    });
  }

  /**
   * Connects, on Node through the proxy from the environment.
   *
   * @param ms the time limit, including the proxy; default 10,000
   * @throws AmeshError `relay_unreachable`; the signal's reason if it is aborted; TypeError for a variable that is not a
   *   proxy
   */
  static async connect(url: string, signal?: AbortSignal, ms: number = CONNECT_MS): Promise<RelaySocket> {
    signal?.throwIfAborted();
    const untilMs = performance.now() + ms;
    const endpoint = endpointOf(url);
    const socket = await newSocket(endpoint, ms, signal);
    const relay = new RelaySocket(endpoint, socket); // before it is open, so that no frame is missed
    await waitForOpen(socket, endpoint, { ms: untilMs - performance.now(), shownSeconds: ms / 1000 }, signal);
    return relay;
  }

  /**
   * Whether this connection has failed, or received a final frame that was not read yet.
   *
   * @param isEnd whether a frame is final
   */
  isOver(isEnd: (frame: RelayFrame) => boolean): boolean {
    return this.#failure !== undefined || this.#frames.some(isEnd);
  }

  send(frame: object): void {
    try {
      this.#socket.send(JSON.stringify(frame));
    } catch {
      this.#fail('closed the connection');
    }
  }

  /**
   * Waits for the relay's next frame.
   *
   * @returns null if no frame arrives in time
   * @throws AmeshError `relay_unreachable` after the connection failed and all frames were read; the signal's reason
   */
  async next(ms: number, signal?: AbortSignal): Promise<RelayFrame | null> {
    const untilMs = performance.now() + ms;
    for (;;) {
      signal?.throwIfAborted();
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#failure !== undefined) throw this.#failure;
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) return null;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', this.#wake);
          resolve();
        };
        signal?.addEventListener('abort', this.#wake, { once: true });
      });
      this.#wake();
    }
  }

  /** Closes the connection, when the relay has received everything, or after two seconds. */
  async close(): Promise<void> {
    this.#failure ??= unreachable(this.#endpoint, 'is no longer connected');
    this.#socket.close();
    await waitAtMost(CLOSE_MS, this.#closed);
    if ('terminate' in this.#socket) (this.#socket as { terminate(): void }).terminate();
  }

  #take(data: unknown): void {
    const frame = typeof data === 'string' && data.length <= MAX_FRAME_BYTES ? readRelayFrame(data) : null;
    if (frame === null || this.#frames.length >= MAX_WAITING_FRAMES) {
      this.#fail('is not an amesh relay');
      this.#socket.close();
      return;
    }
    this.#frames.push(frame);
    this.#wake();
  }

  #fail(why: string): void {
    this.#failure ??= unreachable(this.#endpoint, why);
    this.#wake();
  }
}
