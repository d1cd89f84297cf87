import { setTimeout as sleep } from 'node:timers/promises';
import { readEvents } from './events';
import { MAX_MESSAGE_BYTES, type Message, readMessage, WrongMessageError } from './message';
import { isType, type Remote } from './remote';

/** How long to wait before a lost stream is opened again, if the server has not said that. It doubles with each attempt in vain. */
const FIRST_WAIT_MS = 1000;
/** The least wait that a server can ask for. */
const LEAST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 30_000;

/** Reads the messages of one stream of the server, and resumes it when its connection ends. */
export class MessageStream {
  readonly #remote: Remote;
  readonly #signal: AbortSignal;
  /** The first wait, in milliseconds. */
  readonly #waitMs: number;
  /** Where to continue; undefined if the server has sent no ID. */
  #lastId: string | undefined;
  #retryMs: number | undefined;
  /** Whether it was open before. */
  #isAgain = false;
  /** How many connections in a row have brought no event, or could not be made. */
  #inVain = 0;

  constructor(remote: Remote, signal: AbortSignal, waitMs = FIRST_WAIT_MS) {
    this.#remote = remote;
    this.#signal = signal;
    this.#waitMs = waitMs;
  }

  get isResumable(): boolean {
    return this.#lastId !== undefined;
  }

  /** Yields the messages until the connection ends or breaks. */
  async *read({ body }: Response): AsyncGenerator<Message> {
    this.#isAgain = true;
    if (body === null) return;
    try {
      for await (const { id, type, data, retryMs } of readEvents(body, MAX_MESSAGE_BYTES)) {
        this.#inVain = 0;
        this.#lastId = id ?? this.#lastId;
        this.#retryMs = retryMs ?? this.#retryMs;
        if (type !== 'message' || data === '') continue;
        const message = readMessage(data);
        if (message.kind === 'none')
          throw new WrongMessageError(`The server sent something other than a message. ${message.detail}`);
        yield message;
      }
    } catch (error) {
      if (error instanceof WrongMessageError || this.#signal.aborted) throw error;
    }
  }

  /** Opens the stream for the first time, or again after a wait. */
  async open(): Promise<{ response: Response; isStream: boolean }> {
    if (this.#isAgain) await sleep(this.#nextWaitMs(), undefined, { signal: this.#signal });
    this.#isAgain = true;
    this.#inVain++;
    const { response } = await this.#remote.ask('GET', {
      headers: {
        accept: 'text/event-stream',
        ...(this.#lastId === undefined ? {} : { 'last-event-id': this.#lastId }),
      },
      signal: this.#signal,
    });
    return { response, isStream: response.ok && isType(response, 'text/event-stream') };
  }

  /** A wait that the server has asked for grows, too: it is meant for a server that is there. */
  #nextWaitMs(): number {
    const firstMs = Math.max(this.#retryMs ?? this.#waitMs, Math.min(LEAST_WAIT_MS, this.#waitMs));
    return Math.min(firstMs * 2 ** Math.min(this.#inVain, 10), LONGEST_WAIT_MS);
  }
}
