import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { PAIRING_CODES } from '../errors/codes';
import type { RelayFrame } from './frame';
import { RelaySocket } from './socket';
import { GRACE_MS, MESSAGE_MS } from './timeouts';

export interface SessionOptions {
  /** The relay's URL, normalised by `toRelayUrl`. */
  readonly relay: string;
  /** Cancels the session: everything that waits throws its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called once if somebody else tried the code, however often the relay reports it. */
  readonly onIntruder?: (() => void) | undefined;
}

/** One attempt over a relay, with one code and one peer. It never retries. */
export class RelaySession {
  readonly #socket: RelaySocket;
  readonly #options: SessionOptions;

  /** The role of the other machine. */
  readonly #peer: 'controller' | 'target';
  #isWarned = false;

  private constructor(socket: RelaySocket, options: SessionOptions, peer: 'controller' | 'target') {
    this.#socket = socket;
    this.#options = options;
    this.#peer = peer;
  }

  /**
   * Asks for a code.
   *
   * @throws AmeshError `relay_unreachable`, `relay_busy`
   */
  static async listen(
    options: SessionOptions,
  ): Promise<{ session: RelaySession; code: string; expiresInSeconds: number }> {
    return RelaySession.#open(options, 'controller', { type: 'listen', v: 1 }, async (session) => {
      const frame = await session.#next(MESSAGE_MS);
      if (frame?.type !== 'listening') throw session.#unexpected(frame);
      return { session, code: frame.code, expiresInSeconds: frame.expiresIn };
    });
  }

  /**
   * Uses a code. Afterwards nobody can use it again.
   *
   * @throws AmeshError `relay_unreachable`, `relay_busy`, `code_not_found`, `code_used`
   */
  static async join(options: SessionOptions, code: string): Promise<RelaySession> {
    return RelaySession.#open(options, 'target', { type: 'join', v: 1, code }, async (session) => {
      const frame = await session.#next(MESSAGE_MS).catch((error) => {
        if (!isAmeshError(error) || error.code !== 'code_not_found') throw error;
        const shown = `${code.slice(0, 3)} ${code.slice(3)}`;
        throw new AmeshError(
          PAIRING_CODES.code_not_found,
          `Code ${shown} is unknown or expired on ${options.relay}.`,
        );
      });
      if (frame?.type !== 'peer') throw session.#unexpected(frame);
      return session;
    });
  }

  /** Connects, sends the first frame, and reads the response. */
  static async #open<T>(
    options: SessionOptions,
    peer: 'controller' | 'target',
    first: object,
    hear: (session: RelaySession) => Promise<T>,
  ): Promise<T> {
    const socket = await RelaySocket.connect(options.relay, options.signal);
    const session = new RelaySession(socket, options, peer);
    session.#socket.send(first);
    try {
      return await hear(session);
    } catch (error) {
      await session.end(); // an open socket would keep the process alive
      throw error;
    }
  }

  /**
   * Waits for the peer to use the code.
   *
   * @throws AmeshError `code_expired`
   */
  async peer(expiresInSeconds: number): Promise<void> {
    const expired = () =>
      new AmeshError(PAIRING_CODES.code_expired, `No controller joined within ${expiresInSeconds} s.`);
    const frame = await this.#next(expiresInSeconds * 1000 + GRACE_MS, expired);
    if (frame === null) throw expired();
    if (frame.type !== 'peer') throw this.#unexpected(frame);
  }

  /**
   * Receives the peer's next message.
   *
   * @throws AmeshError `peer_gone` if the peer disconnects, or no message arrives in time; `relay_unreachable`
   */
  async receive(ms: number): Promise<string> {
    const frame = await this.#next(ms);
    if (frame === null) {
      const seconds = Math.round(ms / 1000);
      throw new AmeshError(PAIRING_CODES.peer_gone, `The ${this.#peer} did not respond within ${seconds} s.`);
    }
    if (frame.type !== 'msg') throw this.#unexpected(frame);
    return frame.body;
  }

  /**
   * Asks a person, while no message of the peer is expected.
   *
   * @param ms the time limit
   * @param late creates the error after the time limit
   * @param ask receives a signal that is aborted when the answer is no longer needed
   * @throws AmeshError `peer_gone` if the peer disconnects in the meantime, `pairing_tampered` if it sends a message; the
   *   error of `late`; what `ask` throws
   */
  async whileAsking<T>(ms: number, late: () => Error, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const asking = new AbortController();
    const watching = new AbortController();
    const signal = this.#options.signal;
    const onAbort = () => watching.abort(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener('abort', onAbort);
    const watch = async (): Promise<never> => {
      const frame = await this.#next(ms, undefined, watching.signal);
      if (frame === null) throw late();
      if (frame.type === 'msg') throw new AmeshError(PAIRING_CODES.pairing_tampered);
      throw this.#unexpected(frame);
    };
    try {
      return await Promise.race([ask(asking.signal), watch()]);
    } finally {
      asking.abort();
      watching.abort();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Whether the peer has disconnected, or the relay has ended the session. */
  get isOver(): boolean {
    return this.#socket.isOver((frame) => !this.#isNotice(frame) && isEnd(frame));
  }

  send(body: string): void {
    this.#socket.send({ type: 'msg', body });
  }

  /** Sends a goodbye and closes the connection. */
  async end(): Promise<void> {
    this.#socket.send({ type: 'bye' });
    await this.#socket.close();
  }

  #warn(): void {
    if (!this.#isWarned) this.#options.onIntruder?.();
    this.#isWarned = true;
  }

  /** The next frame that is not a notice. Throws if the frame ends the session. */
  async #next(ms: number, onExpired: () => AmeshError = tookTooLong, signal = this.#options.signal) {
    const untilMs = performance.now() + ms;
    for (;;) {
      const frame = await this.#socket.next(untilMs - performance.now(), signal);
      if (frame?.type === 'peer_gone')
        throw new AmeshError(PAIRING_CODES.peer_gone, `The ${this.#peer} disconnected.`);
      if (frame?.type !== 'error') return frame;
      if (this.#isNotice(frame)) this.#warn();
      else if (frame.code === 'session_expired') throw onExpired();
      else throw toError(frame.code, frame.retryAfter, this.#options.relay);
    }
  }

  /** Whether somebody else tried the code. On the side that joins, the same frame is about its own code, and ends the session. */
  #isNotice(frame: RelayFrame): boolean {
    return frame.type === 'error' && frame.code === 'code_used' && this.#peer === 'controller';
  }

  #unexpected(frame: RelayFrame | null): AmeshError {
    const why = frame === null ? 'did not respond within 10 s' : 'sent an unexpected frame';
    return new AmeshError(
      PAIRING_CODES.relay_unreachable,
      `The relay at ${this.#options.relay} ${why}. Your devices are fine.`,
    );
  }
}

function isEnd({ type }: RelayFrame): boolean {
  return type === 'peer_gone' || type === 'error';
}

function tookTooLong(): AmeshError {
  return new AmeshError(PAIRING_CODES.peer_gone, 'The relay ended the session because it took too long.');
}

const BUSY: ReadonlySet<string> = new Set(['rate_limited', 'capacity', 'draining', 'unavailable']);

function toError(code: string, retryAfter: number | undefined, relay: string): AmeshError {
  if (code === 'code_not_found' || code === 'code_used') return new AmeshError(PAIRING_CODES[code]);
  if (BUSY.has(code)) {
    const fix = retryAfter === undefined ? {} : { fix: `Try again in ${retryAfter} s.` };
    return new AmeshError(PAIRING_CODES.relay_busy, `The relay at ${relay} is busy (${code}).`, fix);
  }
  return new AmeshError(
    PAIRING_CODES.relay_unreachable,
    `The relay at ${relay} refused the connection (${code}). Your devices are fine.`,
  );
}
