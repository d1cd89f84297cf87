import { setTimeout as sleep } from 'node:timers/promises';
import { readEvents } from './events';
import { MAX_MESSAGE_BYTES, type Message, readMessage, WrongMessageError } from './message';
import { isType, type Remote } from './remote';

/** How long to wait before a lost stream is opened again, if the server has not said that. It doubles with each failed attempt. */
const FIRST_WAIT_MS = 1000;
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
    if (body === null) return;
    try {
      for await (const { id, type, data, retryMs } of readEvents(body, MAX_MESSAGE_BYTES)) {
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

  /**
   * Opens the stream again, or for the first time, after a wait.
   *
   * @param attempts how many attempts have failed before this one
   */
  async open(attempts: number): Promise<{ response: Response; isStream: boolean }> {
    if (attempts > 0 || this.#lastId !== undefined) {
      const grown = this.#waitMs * 2 ** Math.min(attempts, 10);
      await sleep(Math.min(this.#retryMs ?? grown, LONGEST_WAIT_MS), undefined, { signal: this.#signal });
    }
    const { response } = await this.#remote.ask('GET', {
      headers: {
        accept: 'text/event-stream',
        ...(this.#lastId === undefined ? {} : { 'last-event-id': this.#lastId }),
      },
      signal: this.#signal,
    });
    return { response, isStream: response.ok && isType(response, 'text/event-stream') };
  }
}
