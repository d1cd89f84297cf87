import { isAmeshError } from '@authmesh/sdk/core';
import { answeredFailure, type Failure, LOST } from './failure-text';
import { type Message, type RequestId, readMessage, WrongMessageError } from './message';
import { type Heard, isType, type Remote, readText } from './remote';
import { MessageStream } from './stream';

/** The calls of a session to its bridge. */
export interface SessionEvents {
  /** Passes on a message of the server. */
  readonly deliver: (message: Message) => Promise<void>;
  /** Logs a line for people. */
  readonly tell: (line: string) => void;
}

/** After so many connections in a row without a message, a stream is lost. */
const MAX_IN_VAIN = 5;
const LONGEST_SESSION_ID = 1024;
/** The revisions that begin with `initialize`. */
const REVISIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];

/** The session with a server of streamable HTTP. */
export class McpSession {
  readonly #remote: Remote;
  readonly #events: SessionEvents;
  readonly #signal: AbortSignal;
  readonly #waitMs: number | undefined;
  /** How the session began, to begin it again. */
  #begun: { readonly initialize: string; readonly agreed: string } | undefined;
  #initialized: string | undefined;
  #renewing: Promise<Failure | undefined> | undefined;
  /** Whether the server has ended the session, and no other one has begun. */
  #isLost = false;
  /** Why no other one can begin. */
  #over: WrongMessageError | undefined;
  #listening = new AbortController();

  /** @param waitMs the wait before a lost stream is opened again, in milliseconds */
  constructor(
    remote: Remote,
    events: SessionEvents,
    options: { signal: AbortSignal; waitMs?: number | undefined },
  ) {
    this.#remote = remote;
    this.#events = events;
    this.#signal = options.signal;
    this.#waitMs = options.waitMs;
  }

  /**
   * Sends a request, and delivers all messages that come before its response, and the response.
   *
   * @returns what went wrong; undefined if the response was delivered
   * @throws like `amesh.fetch`; WrongMessageError
   */
  async request(request: Extract<Message, { kind: 'request' }>): Promise<Failure | undefined> {
    if (request.method === 'initialize') return this.#begin(request);
    const heard = await this.#post(request);
    return 'message' in heard ? heard : this.#receive(heard, request.id, this.#events.deliver);
  }

  /**
   * Sends a notification or a response.
   *
   * @returns what went wrong
   * @throws like `amesh.fetch`
   */
  async send(message: Exclude<Message, { kind: 'request' }>): Promise<Failure | undefined> {
    const heard = await this.#post(message);
    if ('message' in heard) return heard;
    if (!heard.response.ok) return answeredFailure(heard);
    await heard.response.body?.cancel().catch(() => {});
    if (message.kind === 'notification' && message.method === 'notifications/initialized') {
      this.#initialized = message.text;
      this.#listen();
    }
    return undefined;
  }

  /** Ends the session at the server. The server may not allow that. */
  async end(signal: AbortSignal): Promise<void> {
    this.#listening.abort();
    if (this.#remote.sessionId === undefined) return;
    const { response } = await this.#remote.ask('DELETE', { signal });
    await response.body?.cancel().catch(() => {});
  }

  /**
   * Sends a message, once no new session is being begun. If the server has forgotten the session, it is begun again, once (MCP,
   * "Session Management", 4).
   */
  async #post({ text }: Message): Promise<Heard | Failure> {
    const without = await (this.#isLost ? this.#renew() : undefined);
    if (without !== undefined) return without;
    const { sessionId } = this.#remote;
    const heard = await this.#postOnce(text);
    if (heard.response.status !== 404 || sessionId === undefined || heard.refusal !== undefined) return heard;
    await heard.response.body?.cancel().catch(() => {});
    // Several requests may notice that at the same time.
    const isFirst = this.#remote.sessionId === sessionId;
    const failure = await (isFirst || this.#isLost ? this.#renew() : undefined);
    return failure ?? this.#postOnce(text);
  }

  #postOnce(body: string): Promise<Heard> {
    const headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' };
    return this.#remote.ask('POST', { headers, body, signal: this.#signal });
  }

  async #begin(request: Extract<Message, { kind: 'request' }>): Promise<Failure | undefined> {
    await this.#renewing?.catch(() => {});
    this.#isLost = false;
    this.#over = undefined;
    this.#listening.abort();
    this.#remote.sessionId = undefined;
    this.#remote.protocolVersion = undefined;
    const heard = await this.#postOnce(request.text);
    return this.#receive(heard, request.id, async (message) => {
      if (message.kind === 'response' && message.id === request.id && message.result !== undefined) {
        const agreed = agreedOn(message.result);
        this.#remote.protocolVersion = agreed.version;
        this.#remote.sessionId = sessionIdOf(heard.response);
        this.#begun = { initialize: request.text, agreed: agreed.all };
      }
      await this.#events.deliver(message);
    });
  }

  /** Begins the session again. Whatever is sent meanwhile waits for that. */
  #renew(): Promise<Failure | undefined> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    this.#isLost = true;
    this.#renewing ??= this.#beginAgain()
      .then((failure) => {
        this.#isLost = failure !== undefined;
        return failure;
      })
      .finally(() => {
        this.#renewing = undefined;
      });
    return this.#renewing;
  }

  async #beginAgain(): Promise<Failure | undefined> {
    const { initialize, agreed } = this.#begun ?? {};
    if (initialize === undefined) return { message: 'The server responded with 404.', data: { status: 404 } };
    this.#events.tell('The server has ended the session: a new one begins.');
    this.#listening.abort();
    this.#remote.sessionId = undefined;
    this.#remote.protocolVersion = undefined;
    const heard = await this.#postOnce(initialize);
    const { id } = readMessage(initialize) as { id: RequestId };
    let isSame = false;
    const failure = await this.#receive(heard, id, async (message) => {
      if (message.kind !== 'response' || message.id !== id || message.result === undefined) return;
      const now = agreedOn(message.result);
      isSame = now.all === agreed;
      this.#remote.protocolVersion = now.version;
      this.#remote.sessionId = sessionIdOf(heard.response);
    });
    if (failure !== undefined) return failure;
    // The client relies on the first capabilities of the server, and does not learn about others.
    if (!isSame) {
      this.#over = new WrongMessageError(
        'The server is another one now: it can do other things. Start again.',
      );
      throw this.#over;
    }
    if (this.#initialized === undefined) return undefined;
    const told = await this.#postOnce(this.#initialized);
    if (!told.response.ok) return answeredFailure(told);
    this.#listen();
    return undefined;
  }

  /** @returns what went wrong; undefined once the response to the request has arrived */
  async #receive(
    heard: Heard,
    id: RequestId,
    deliver: SessionEvents['deliver'],
  ): Promise<Failure | undefined> {
    const { response } = heard;
    if (!response.ok) return answeredFailure(heard);
    if (isType(response, 'application/json')) {
      const text = await readText(response).catch((error) => {
        if (error instanceof WrongMessageError || isAmeshError(error) || this.#signal.aborted) throw error;
        return undefined;
      });
      if (text === undefined) return LOST;
      const message = readMessage(text);
      if (message.kind !== 'response' || message.id !== id)
        throw new WrongMessageError('The server sent something other than a response to the request.');
      await deliver(message);
      return undefined;
    }
    if (isType(response, 'text/event-stream')) return this.#follow(response, id, deliver);
    await response.body?.cancel().catch(() => {});
    throw new WrongMessageError(
      `The server sent ${response.status} with neither JSON nor a stream of events: is this the URL of an MCP server?`,
    );
  }

  /** Follows the stream of one request, over several connections if need be. */
  async #follow(
    first: Response,
    id: RequestId,
    deliver: SessionEvents['deliver'],
  ): Promise<Failure | undefined> {
    const stream = new MessageStream(this.#remote, this.#signal, this.#waitMs);
    const { sessionId } = this.#remote;
    let connection: Response | undefined = first;
    for (let inVain = 0; inVain < MAX_IN_VAIN; inVain++) {
      if (connection !== undefined)
        for await (const message of stream.read(connection)) {
          inVain = 0;
          await deliver(message);
          if (message.kind === 'response' && message.id === id) return undefined;
        }
      if (!stream.isResumable || this.#remote.sessionId !== sessionId) break; // another session does not have it
      const opened: Awaited<ReturnType<MessageStream['open']>> | undefined = await stream
        .open()
        .catch((error) => {
          if (this.#signal.aborted) throw error;
          return undefined;
        });
      if (opened !== undefined && !opened.isStream) {
        await opened.response.body?.cancel().catch(() => {});
        if (opened.response.status < 500) break; // otherwise it may be starting
      }
      connection = opened?.isStream ? opened.response : undefined;
    }
    return LOST;
  }

  /** Opens the stream for messages that the server sends on its own, if it has one. */
  #listen(): void {
    this.#listening.abort();
    this.#listening = new AbortController();
    const signal = AbortSignal.any([this.#signal, this.#listening.signal]);
    this.#keepListening(signal).catch((error) => {
      if (!signal.aborted)
        this.#events.tell(`Nothing more comes from the server by itself: ${error.message}`);
    });
  }

  async #keepListening(signal: AbortSignal): Promise<void> {
    const stream = new MessageStream(this.#remote, signal, this.#waitMs);
    for (;;) {
      const opened = await stream.open().catch((error) => {
        if (signal.aborted) throw error;
        return undefined; // the network may come back
      });
      if (opened === undefined) continue;
      if (!opened.isStream) {
        await opened.response.body?.cancel().catch(() => {});
        if (opened.response.status >= 500) continue;
        if (opened.response.status !== 405)
          this.#events.tell(`The server has no stream: it responded with ${opened.response.status}.`);
        return;
      }
      for await (const message of stream.read(opened.response)) await this.#events.deliver(message);
    }
  }
}

/** What the client relies on: the version, and the capabilities of the server. @throws WrongMessageError */
function agreedOn(result: unknown): { version: string; all: string } {
  const { protocolVersion, capabilities } = Object(result) as Record<string, unknown>;
  if (typeof protocolVersion !== 'string' || !REVISIONS.includes(protocolVersion))
    throw new WrongMessageError(
      `The server speaks a revision of MCP that amesh mcp does not: it knows ${REVISIONS.join(', ')}.`,
    );
  return { version: protocolVersion, all: JSON.stringify([protocolVersion, capabilities]) };
}

/** @throws WrongMessageError for a value that is not a session ID */
function sessionIdOf({ headers }: Response): string | undefined {
  const id = headers.get('mcp-session-id') ?? undefined;
  if (id !== undefined && !(id.length <= LONGEST_SESSION_ID && /^[\x21-\x7e]+$/.test(id)))
    throw new WrongMessageError('The server sent an Mcp-Session-Id that is not one.');
  return id;
}
