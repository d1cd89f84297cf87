import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { PAIRING_CODES } from '../errors/codes';
import type { RelayFrame } from './frame';
import { RelaySocket } from './socket';
import { GRACE_MS, MESSAGE_MS } from './timeouts';

export interface SessionOptions {
  /** The relay's URL, as `toRelayUrl` gives it. */
  readonly relay: string;
  /** Ends it from outside: what waits throws its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Somebody else has tried the code. Called once, however often the relay says so. */
  readonly onIntruder?: (() => void) | undefined;
}

/** One attempt over a relay, with one code and one peer. It never tries anything again. */
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
   * Uses a code, which nobody can use again.
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

  /** Connects, sends the first frame, and reads the answer. */
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
      await session.end(); // a socket that stays open keeps the process alive
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
   * The peer's next message.
   *
   * @throws AmeshError `peer_gone`, also where no message has come in that time; `relay_unreachable`
   */
  async receive(ms: number): Promise<string> {
    const frame = await this.#next(ms);
    if (frame === null) {
      const seconds = Math.round(ms / 1000);
      throw new AmeshError(PAIRING_CODES.peer_gone, `The ${this.#peer} did not answer within ${seconds} s.`);
    }
    if (frame.type !== 'msg') throw this.#unexpected(frame);
    return frame.body;
  }

  /**
   * Asks a person while no message of the peer is due.
   *
   * @param ms how long they may take
   * @param late the error where they take longer
   * @param ask gets a signal that is aborted when the answer is no longer wanted
   * @throws AmeshError `peer_gone` where the peer goes meanwhile, `pairing_tampered` where it sends a message; what
   *   `late` gives; what `ask` throws
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

  /** Whether the peer or the relay has said that it is gone. */
  get isOver(): boolean {
    return this.#socket.isOver((frame) => !this.#isNotice(frame) && isEnd(frame));
  }

  send(body: string): void {
    this.#socket.send({ type: 'msg', body });
  }

  /** Says goodbye and closes the connection. */
  async end(): Promise<void> {
    this.#socket.send({ type: 'bye' });
    await this.#socket.close();
  }

  #warn(): void {
    if (!this.#isWarned) this.#options.onIntruder?.();
    this.#isWarned = true;
  }

  /** The next frame that is no notice. Throws where the frame ends the session. */
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

  /** Whether somebody else has tried the code. A joiner gets the same frame about its own code, and it ends the session. */
  #isNotice(frame: RelayFrame): boolean {
    return frame.type === 'error' && frame.code === 'code_used' && this.#peer === 'controller';
  }

  #unexpected(frame: RelayFrame | null): AmeshError {
    const why = frame === null ? 'did not answer within 10 s' : 'sent a frame that is not due';
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
  return new AmeshError(
    PAIRING_CODES.peer_gone,
    'The relay ended the session: it took longer than a session may.',
  );
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
    `The relay at ${relay} refused (${code}). Your devices are fine.`,
  );
}
