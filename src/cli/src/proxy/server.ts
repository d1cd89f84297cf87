import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { Agent as SecureAgent, request as secureRequest } from 'node:https';
import type { Duplex, Readable } from 'node:stream';
import { isAmeshError } from '@authmesh/sdk/core';
import { ProxyFault } from './fault';
import type { Lines } from './lines/header-lines';

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
  /** All header lines but `Connection`. */
  readonly lines: Lines;
  /** Its body; undefined if it has none. */
  readonly body?: Readable | Uint8Array | undefined;
  /** Called with what ends the request, and its answer. */
  readonly onSent: (destroy: () => void) => void;
}

/** What a server has answered: a response, or a connection that speaks another protocol from here on. */
export interface Answered {
  readonly response: IncomingMessage;
  /** Only after 101: the connection, and what has arrived on it already. */
  readonly upgraded?: { readonly socket: Duplex; readonly head: Buffer } | undefined;
}

/** An answer that says nothing for so long is given up. */
const IDLE_MS = 900_000;
const MAX_HEADER_BYTES = 65_536;

/** Sends requests over connections that stay open. */
export class Server {
  readonly place: Place;
  readonly #agent: Agent;
  readonly #send: (options: RequestOptions) => ClientRequest;
  readonly #timeoutMs: number;

  /** @param timeoutMs how long to wait for a connection, and for the head of an answer */
  constructor(place: Place, timeoutMs: number) {
    this.place = place;
    this.#timeoutMs = timeoutMs;
    const isSecure = place.url.protocol === 'https:';
    const options = { keepAlive: true, maxFreeSockets: 64, scheduling: 'lifo' } as const;
    this.#agent = isSecure ? new SecureAgent(options) : new Agent(options);
    this.#send = isSecure ? secureRequest : request;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Sends a request and waits for the head of its answer. @throws ProxyFault `server_unreachable`; what its body throws */
  send(sending: Sending): Promise<Answered> {
    return this.#sendOnce(sending).catch((error: unknown) => {
      // A server may close an idle connection just as it is used. It has not seen the request then, or may see it twice.
      if (error instanceof StaleConnection && sending.body === undefined && isSafe(sending.method))
        return this.#sendOnce(sending);
      throw error;
    });
  }

  #sendOnce({ method, target, lines, body, onSent }: Sending): Promise<Answered> {
    const { url, socketPath } = this.place;
    return new Promise((resolve, reject) => {
      const sent = this.#send({
        ...(socketPath === undefined
          ? { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port }
          : { socketPath }),
        method,
        path: target,
        headers: lines,
        agent: this.#agent,
        setHost: false,
        maxHeaderSize: MAX_HEADER_BYTES,
      });
      onSent(() => sent.destroy());
      let bodyError: Error | undefined;
      const timer = this.#giveUpLate(sent);
      sent.on('error', (error: NodeJS.ErrnoException) => {
        timer.stop();
        const isStale = sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        const fault = this.#toFault(error);
        reject(bodyError ?? (isStale ? new StaleConnection(fault) : fault));
      });
      sent.on('response', (response) => {
        timer.stop();
        const { statusCode = 0 } = response;
        if (statusCode < 200 || statusCode > 599) {
          sent.destroy(
            new ProxyFault(502, 'server_unreachable', `${this.place.shown} answered ${statusCode}.`),
          );
          return;
        }
        sent.setTimeout(IDLE_MS, () => response.destroy(new Error('The answer stopped.')));
        resolve({ response });
      });
      sent.on('upgrade', (response, socket, head) => {
        timer.stop();
        socket.setTimeout(0);
        resolve({ response, upgraded: { socket, head } });
      });
      if (body === undefined || body instanceof Uint8Array) {
        sent.end(body);
        return;
      }
      const stop = (error?: Error) => {
        if (error !== undefined && isOfBody(error)) bodyError = error;
        if (!sent.writableFinished) sent.destroy(error);
      };
      body.on('error', stop);
      body.on('close', () => {
        if (!body.readableEnded) stop(new Error('The body broke off.'));
      });
      // A server may answer before it has read all. The client gets that answer, so its request must not be destroyed.
      sent.on('close', () => body.unpipe(sent));
      body.pipe(sent);
    });
  }

  /** A connection or an answer that does not come. While the body goes out, only a stop counts. */
  #giveUpLate(sent: ClientRequest): { stop(): void } {
    const late = () =>
      sent.destroy(new ProxyFault(504, 'server_unreachable', `${this.place.shown} did not answer in time.`));
    sent.setTimeout(this.#timeoutMs, late);
    let timer: NodeJS.Timeout | undefined;
    const begin = () => {
      timer = setTimeout(late, this.#timeoutMs);
    };
    sent.once('finish', begin);
    return {
      stop() {
        sent.off('finish', begin); // a body may end long after its answer has begun
        clearTimeout(timer);
        sent.setTimeout(0);
      },
    };
  }

  #toFault(error: NodeJS.ErrnoException): Error {
    if (error instanceof ProxyFault || error.name === 'AbortError') return error;
    const why = error.code ?? error.message;
    return new ProxyFault(502, 'server_unreachable', `${this.place.shown} cannot be reached: ${why}.`);
  }
}

class StaleConnection extends ProxyFault {
  constructor({ message }: Error) {
    super(502, 'server_unreachable', message);
  }
}

function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
}

/** Whether an error says what is wrong with a body, and not only that somebody has gone. */
function isOfBody(error: unknown): boolean {
  return error instanceof ProxyFault || isAmeshError(error);
}
