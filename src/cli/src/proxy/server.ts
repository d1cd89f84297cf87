import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { Agent as SecureAgent, request as secureRequest } from 'node:https';
import type { Socket } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import { isAmeshError } from '@authmesh/sdk/core';
import { ProxyFault } from './fault';
import { type Lines, valuesOf } from './lines/header-lines';
import { Patience, type Waiting } from './waiting/patience';

/** Where requests go: a URL without a path, or the path of a Unix socket. */
export interface Place {
  /** The origin, as in the log. */
  readonly shown: string;
  readonly url: URL;
  readonly socketPath?: string | undefined;
}

/** One request to the server. */
export interface Sending {
  readonly method: string;
  readonly target: string;
  /** All header lines except `Connection`. */
  readonly lines: Lines;
  /** Its body; undefined if it has none. */
  readonly body?: Readable | Uint8Array | undefined;
  /** Called with a function that ends the request and its response. */
  readonly onSent: (destroy: () => void) => void;
}

/** What a server has answered: a response, or a connection with another protocol from then on. */
export interface Answered {
  readonly response: IncomingMessage;
  /** Only after 101: the connection, and what has arrived on it already. */
  readonly upgraded?: { readonly socket: Duplex; readonly head: Buffer } | undefined;
}

/** A body of up to so many bytes is written in one call. A larger one is written in pieces, which show whether it still moves. */
const AT_ONCE_BYTES = 65_536;

/** A body of up to so many bytes is sent in one piece with the head, as a text in which each character is one byte. */
const WITH_HEAD_BYTES = 8192;
const MAX_HEADER_BYTES = 65_536;

/** Sends requests over connections that stay open. */
export class Server {
  readonly place: Place;
  readonly #agent: Agent;
  readonly #send: (options: RequestOptions) => ClientRequest;
  readonly #host: string;
  readonly #port: string;
  readonly #patience: Patience;
  /** The last Keep-Alive header of the server, and the seconds in it. */
  #hint: string | undefined;
  #idleSeconds: number | undefined;

  /** @param timeoutMs how long to wait for a connection, and for the head of a response */
  constructor(place: Place, timeoutMs: number) {
    this.place = place;
    const { url } = place;
    this.#host = url.hostname.replace(/^\[|\]$/g, '');
    this.#port = url.port;
    this.#patience = new Patience(timeoutMs);
    const isSecure = url.protocol === 'https:';
    const options = { keepAlive: true, maxFreeSockets: 64, scheduling: 'lifo' } as const;
    this.#agent = isSecure ? new SecureAgent(options) : new Agent(options);
    this.#leaveInTime(this.#agent);
    this.#send = isSecure ? secureRequest : request;
  }

  close(): void {
    this.#agent.destroy();
  }

  /**
   * A server says how long it keeps an idle connection, but Node uses that only if the agent has a timeout. If the connection ended
   * while a request with a body is sent, that request could not be sent again.
   */
  #leaveInTime(agent: Agent): void {
    const keep = agent.keepSocketAlive;
    agent.keepSocketAlive = (socket) => {
      const isKept = keep.call(agent, socket) as unknown;
      if (this.#idleSeconds === undefined || isKept === false) return isKept as undefined;
      // The agent destroys a free connection on which nothing has happened for this long.
      (socket as Socket).setTimeout(Math.max(1, this.#idleSeconds * 1000 - 1000));
      return isKept as undefined;
    };
  }

  /** Sends a request and waits for the head of its response. @throws ProxyFault `server_unreachable`; what its body throws */
  send(sending: Sending): Promise<Answered> {
    return new Promise((resolve, reject) => {
      this.#sendOnce(sending, resolve, (error) => {
        // A server may close an idle connection at the moment when it is used. Then it has not seen the request, or it may see it
        // twice.
        if (error instanceof StaleConnection && sending.body === undefined && isSafe(sending.method))
          this.#sendOnce(sending, resolve, reject);
        else reject(error);
      });
    });
  }

  #sendOnce(sending: Sending, resolve: (answered: Answered) => void, reject: (error: Error) => void): void {
    const { body } = sending;
    const sent = this.#request(sending);
    const waiting: Exchange = {
      sent,
      response: undefined,
      bodyError: undefined,
      giveUp: () => this.#giveUp(waiting),
    };
    this.#patience.begin(waiting);
    sending.onSent(() => sent.destroy());
    sent.on('error', (error: NodeJS.ErrnoException) => {
      this.#patience.end(waiting);
      const isStale = sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      const fault = this.#toFault(error);
      reject(waiting.bodyError ?? (isStale ? new StaleConnection(fault) : fault));
    });
    sent.on('response', (response) => {
      waiting.response = response;
      const [hint] = valuesOf(response.rawHeaders, 'keep-alive');
      if (hint !== this.#hint) this.#noteHint(hint);
      const fault = faultOfAnswer(response);
      if (fault === undefined) resolve({ response });
      else sent.destroy(new ProxyFault(502, 'server_unreachable', `${this.place.shown} responded ${fault}.`));
    });
    sent.on('upgrade', (response, socket, head) => {
      this.#patience.end(waiting);
      if (valuesOf(sending.lines, 'upgrade').length === 0) {
        socket.destroy();
        const why = `${this.place.shown} switched protocols without being asked.`;
        reject(new ProxyFault(502, 'server_unreachable', why));
        return;
      }
      socket.setTimeout(0);
      resolve({ response, upgraded: { socket, head } });
    });
    sent.on('close', () => this.#patience.end(waiting));
    if (body === undefined) sent.end();
    else if (body instanceof Uint8Array && body.length <= WITH_HEAD_BYTES) sent.end(asText(body), 'latin1');
    else if (body instanceof Uint8Array && body.length <= AT_ONCE_BYTES) sent.end(body);
    else sendBody(waiting, body instanceof Uint8Array ? Readable.from(pieces(body)) : body);
  }

  #noteHint(hint: string | undefined): void {
    this.#hint = hint;
    const [, seconds] = /\btimeout=(\d{1,5})\b/i.exec(hint ?? '') ?? [];
    this.#idleSeconds = seconds === undefined ? undefined : Number(seconds);
  }

  #request({ method, target, lines }: Sending): ClientRequest {
    return this.#send({
      host: this.#host,
      port: this.#port,
      socketPath: this.place.socketPath,
      method,
      path: target,
      headers: lines,
      agent: this.#agent,
      setHost: false,
      maxHeaderSize: MAX_HEADER_BYTES,
    });
  }

  #giveUp({ sent, response }: Exchange): void {
    if (response !== undefined) response.destroy(new Error('The response stopped.'));
    else
      sent.destroy(new ProxyFault(504, 'server_unreachable', `${this.place.shown} did not respond in time.`));
  }

  #toFault(error: NodeJS.ErrnoException): Error {
    if (error instanceof ProxyFault || error.name === 'AbortError') return error;
    const why = error.code ?? error.message;
    return new ProxyFault(502, 'server_unreachable', `${this.place.shown} cannot be reached: ${why}.`);
  }
}

/** One request and its response. */
interface Exchange extends Waiting {
  response: IncomingMessage | undefined;
  /** The error of its body. */
  bodyError: Error | undefined;
}

function sendBody(exchange: Exchange, body: Readable): void {
  const { sent } = exchange;
  const stop = (error?: Error) => {
    if (error !== undefined && isOfBody(error)) exchange.bodyError = error;
    if (!sent.writableFinished) sent.destroy(error);
  };
  body.on('error', stop);
  body.on('close', () => {
    if (!body.readableEnded) stop(new Error('The body ended early.'));
  });
  // A server may respond before it has read the whole body. The client gets that response, so its request must not be destroyed.
  sent.on('close', () => body.unpipe(sent));
  body.pipe(sent);
}

function asText({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, length).toString('latin1');
}

function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += AT_ONCE_BYTES)
    yield bytes.subarray(start, start + AT_ONCE_BYTES);
}

class StaleConnection extends ProxyFault {
  constructor({ message }: Error) {
    super(502, 'server_unreachable', message);
  }
}

function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
}

/** Why a response cannot be passed on, as the end of a sentence; undefined if it can. */
function faultOfAnswer({ statusCode = 0, rawHeaders }: IncomingMessage): string | undefined {
  if (statusCode < 200 || statusCode > 599) return String(statusCode);
  // Nobody has asked for another transfer coding, and nothing here would decode it.
  const codings = valuesOf(rawHeaders, 'transfer-encoding');
  const isKnown = codings.every((coding) => coding.trim().toLowerCase() === 'chunked');
  return isKnown ? undefined : 'with an unknown Transfer-Encoding';
}

/** Whether an error says what is wrong with a body, and not only that somebody has left. */
function isOfBody(error: unknown): boolean {
  return error instanceof ProxyFault || isAmeshError(error);
}
