import { once, setMaxListeners } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { type Failure, thrownFailure } from './failure-text';
import { readLines } from './lines';
import {
  errorText,
  MAX_MESSAGE_BYTES,
  type Message,
  type RequestId,
  RPC,
  readMessage,
  WrongMessageError,
} from './message';
import { Remote, type RemoteOptions } from './remote';
import { McpSession } from './session';

/** What a bridge connects. */
export interface BridgeOptions extends RemoteOptions {
  /** Messages of the client, one a line. */
  readonly input: Readable;
  /** Messages for the client, one a line, and nothing else. */
  readonly output: Writable;
  /** Logs a line for people. */
  readonly tell: (line: string) => void;
  /** Ends the bridge immediately. */
  readonly signal: AbortSignal;
  /** How long to wait before a lost stream is opened again, in milliseconds; default 1,000. */
  readonly waitMs?: number | undefined;
}

/** The most requests that wait for their responses at a time. */
const MAX_REQUESTS = 100;
/** How long open requests may take after the client has closed its end, in milliseconds. */
const LEAVING_MS = 30_000;
/** How long the end of the session may take, in milliseconds. Clients kill a server after 2 s. */
const ENDING_MS = 1500;

/** Connects a client of MCP over stdio with a server over streamable HTTP, until the client closes its end. */
export class Bridge {
  readonly #options: BridgeOptions;
  readonly #session: McpSession;
  readonly #stop = new AbortController();
  readonly #open = new Map<RequestId, Promise<void>>();
  readonly #cancelled = new Set<RequestId>();
  /** The last message that was sent: messages go out in the order of the client, if the server has to see them in that order. */
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  /** Resolves when the client has read enough to accept more. */
  #draining: Promise<void> | undefined;

  constructor(options: BridgeOptions) {
    this.#options = options;
    const signal = AbortSignal.any([options.signal, this.#stop.signal]);
    setMaxListeners(0, signal); // one for each open request
    const events = { deliver: (message: Message) => this.#write(message.text), tell: options.tell };
    this.#session = new McpSession(new Remote(options), events, { signal, waitMs: options.waitMs });
  }

  /** Resolves when the client has closed its end, and the session has ended. */
  async run(): Promise<void> {
    const { input, signal, tell } = this.#options;
    const leave = () => input.destroy();
    signal.addEventListener('abort', leave, { once: true });
    this.#options.output.on('error', leave); // the client is gone
    try {
      for await (const line of readLines(input, MAX_MESSAGE_BYTES)) await this.#take(line);
      setTimeout(() => this.#stop.abort(), LEAVING_MS).unref();
      await this.#settled();
    } catch (error) {
      if (!signal.aborted && !input.destroyed) throw error;
    } finally {
      this.#stop.abort();
      signal.removeEventListener('abort', leave);
      await this.#session
        .end(AbortSignal.timeout(ENDING_MS))
        .catch((error) => tell(`The session could not be ended at the server: ${error.message}`));
    }
  }

  async #settled(): Promise<void> {
    await this.#last;
    await Promise.all(this.#open.values());
  }

  async #take(line: { text: string } | { problem: string }): Promise<void> {
    const message: ReturnType<typeof readMessage> =
      'text' in line ? readMessage(line.text) : { kind: 'none', code: RPC.parseError, detail: line.problem };
    if (message.kind === 'none') return this.#write(errorText(null, message.code, message.detail));
    // Not queued: the queue may be waiting for a server that waits for this response.
    if (message.kind === 'response') return void this.#pass(message);
    if (message.kind === 'notification' && isId(message.cancels)) this.#cancelled.add(message.cancels);
    this.#last = this.#last.then(() => this.#dispatch(message));
    if (++this.#waiting > MAX_REQUESTS) await this.#last;
    return undefined;
  }

  /** @returns the error for a request that is not passed on */
  #refuse({ id, method }: Extract<Message, { kind: 'request' }>): string | undefined {
    // Clients of later revisions begin with this request, and use `initialize` after this error.
    if (method === 'server/discover')
      return errorText(
        id,
        RPC.methodNotFound,
        'amesh mcp speaks the revisions of MCP that begin with initialize.',
      );
    if (this.#open.has(id)) return errorText(id, RPC.invalidRequest, 'A request with this id is still open.');
    if (this.#open.size >= MAX_REQUESTS)
      return errorText(
        id,
        RPC.failed,
        `More than ${MAX_REQUESTS} requests are open: wait for some responses.`,
      );
    return undefined;
  }

  /** Resolves when the next message may go out. */
  async #dispatch(message: Exclude<Message, { kind: 'response' }>): Promise<void> {
    this.#waiting--;
    if (message.kind === 'notification') return this.#pass(message);
    const refused = this.#refuse(message);
    if (refused !== undefined) return this.#write(refused);
    const { id } = message;
    const answering = this.#answer(message).finally(() => {
      this.#open.delete(id);
      this.#cancelled.delete(id);
    });
    this.#open.set(id, answering);
    // Wait for its response, which names the session of all later messages.
    if (message.method === 'initialize') await answering;
  }

  async #answer(request: Extract<Message, { kind: 'request' }>): Promise<void> {
    const failure = await this.#session.request(request).catch(toFailure);
    if (failure === undefined || this.#cancelled.has(request.id) || this.#stop.signal.aborted) return;
    this.#options.tell(failure.message);
    await this.#write(errorText(request.id, RPC.failed, failure.message, failure.data)).catch(() => {});
  }

  /** Passes on a message that gets no response. */
  async #pass(message: Exclude<Message, { kind: 'request' }>): Promise<void> {
    const failure = await this.#session.send(message).catch(toFailure);
    if (failure !== undefined && !this.#stop.signal.aborted) this.#options.tell(failure.message);
  }

  async #write(text: string): Promise<void> {
    const { output } = this.#options;
    if (output.destroyed || output.write(`${text}\n`)) return;
    // Once the bridge ends, nobody reads any more.
    this.#draining ??= once(output, 'drain', { signal: this.#stop.signal })
      .catch(() => {})
      .then(() => {
        this.#draining = undefined;
      });
    await this.#draining;
  }
}

function toFailure(error: unknown): Failure {
  return error instanceof WrongMessageError ? { message: error.message } : thrownFailure(error);
}

function isId(value: unknown): value is RequestId {
  return typeof value === 'string' || typeof value === 'number';
}
