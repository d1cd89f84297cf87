import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  createSecureServer,
  type Http2SecureServer,
  Http2ServerResponse,
  type Http2Session,
} from 'node:http2';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CommandError } from '../errors/errors';
import type { ProxyRequest } from './lines/framing';
import { breakOff, type OwnAnswer, type ProxyResponse, reply } from './reply';
import { refuseUpgrade } from './upgrade';
import { AwaitedResponse, afterResponses } from './waiting/awaited';

/** What handles the requests of a {@link Front}. */
export interface Handler {
  handle(request: ProxyRequest, response: ProxyResponse, how: { readonly isExpecting: boolean }): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
}

/** A certificate and its key, both in PEM. */
export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** How long a connection may take. */
export interface FrontLimits {
  /** Until the handshake, or the headers of a request, have arrived, in milliseconds. HTTP/1.1 may take an eighth more. */
  readonly headersMs: number;
  /** Between two requests, in milliseconds. */
  readonly betweenMs: number;
}

/** The second is longer than a load balancer in front keeps an idle connection. */
const LIMITS: FrontLimits = { headersMs: 15_000, betweenMs: 65_000 };
/** Longer than any --timeout. */
const IDLE_MS = 900_000;
const MAX_CONNECTIONS = 10_000;
const MAX_HEADER_BYTES = 32_768;
const MAX_STREAMS = 100;

/** The server of a proxy: HTTP/1.1, and over TLS also HTTP/2. */
export class Front {
  readonly server: Server | Http2SecureServer;
  readonly #connections = new Set<Duplex>();
  readonly #sessions = new Set<Http2Session>();
  #isEnding = false;

  /** @throws CommandError `file_system_error` for a file that is not a certificate */
  constructor(handler: Handler, certificate?: Certificate, limits = LIMITS) {
    const server = certificate === undefined ? plainServer() : secureServer(certificate, limits);
    this.server = server;
    // Both kinds of servers have these events.
    const events = server as Server;
    events.maxConnections = MAX_CONNECTIONS;
    events.headersTimeout = limits.headersMs;
    // How often the server looks for late connections; Node's default is every 30 s.
    Object.assign(events, { connectionsCheckingInterval: limits.headersMs / 8 });
    events.requestTimeout = 0; // no limit for a body: it may be large, and is only read from known callers
    events.timeout = IDLE_MS;
    events.keepAliveTimeout = limits.betweenMs;
    const handle = (request: IncomingMessage, response: ServerResponse, isExpecting: boolean) => {
      response.on('error', () => {}); // the client has left
      if (this.#isEnding) this.#lastOn(response);
      try {
        handler.handle(request, response, { isExpecting });
      } catch {
        breakOff(response); // an error of a stream that was reset, for example, must not end the process
      }
    };
    events.on('request', (request, response) => handle(request, response, EXPECTS.nothing));
    events.on('checkContinue', (request, response) => handle(request, response, EXPECTS.continue));
    events.on('upgrade', (request, socket, head) => {
      socket.on('error', () => {});
      afterResponses(socket, limits.headersMs, () => {
        if (socket instanceof Socket) socket.setTimeout(0);
        void handler.upgrade(request, socket, head);
      });
    });
    server.on('connect', (request: ProxyRequest, to: Duplex | Http2ServerResponse) => {
      to.on('error', () => {}); // the client has left
      if (to instanceof Http2ServerResponse) reply(request, to, NO_TUNNELS);
      else afterResponses(to, limits.headersMs, () => refuseTunnel(to));
    });
    for (const event of ['connection', 'secureConnection'])
      server.on(event, (socket: Duplex) => {
        this.#connections.add(socket);
        socket.once('close', () => this.#connections.delete(socket));
      });
    server.on('session', (session: Http2Session) => {
      this.#sessions.add(session);
      session.on('error', () => {});
      endInTime(session, limits);
      session.once('close', () => this.#sessions.delete(session));
    });
  }

  /** Whether it accepts no more connections. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** Accepts no more connections, and waits for open requests: for `graceMs`, or until `cut` settles. */
  async end(graceMs: number, cut: Promise<void>): Promise<void> {
    this.#isEnding = true;
    let close = () => {};
    const closed = new Promise<void>((done) => {
      close = done;
    });
    this.server.close(close);
    for (const session of this.#sessions) session.close();
    this.#closeIdle();
    const cutAll = () => {
      for (const connection of this.#connections) connection.destroy();
    };
    const timer = setTimeout(cutAll, graceMs);
    void cut.then(cutAll);
    await closed;
    clearTimeout(timer);
  }

  #closeIdle(): void {
    (this.server as Partial<Server>).closeIdleConnections?.();
  }

  /** Ends the connection with this response. */
  #lastOn(response: ServerResponse): void {
    if (response.req.httpVersionMajor === 1) response.setHeader('connection', 'close');
    response.once('close', () => setImmediate(() => this.#closeIdle()));
  }
}

/** Over HTTP/2, Node has a response for a CONNECT, and no connection: that one belongs to other requests, too. */
const NO_TUNNELS: OwnAnswer = {
  status: 405,
  wire: 'malformed_header',
  code: 'malformed_header',
  message: 'This proxy opens no tunnels.',
};

function refuseTunnel(socket: Duplex): void {
  refuseUpgrade(socket, { status: NO_TUNNELS.status, body: JSON.stringify({ error: NO_TUNNELS.wire }) });
}

/** Ends a session of HTTP/2 that has had no request for too long, as Node does for HTTP/1.1. A client opens another one. */
function endInTime(session: Http2Session, { headersMs, betweenMs }: FrontLimits): void {
  const waitFor = (ms: number) => setTimeout(() => session.destroy(), ms).unref();
  let timer = waitFor(headersMs);
  let open = 0;
  // A stream whose headers have all arrived.
  session.on('stream', (stream) => {
    clearTimeout(timer);
    open++;
    stream.once('close', () => {
      open--;
      if (open === 0 && !session.destroyed) timer = waitFor(betweenMs);
    });
  });
  session.once('close', () => clearTimeout(timer));
}

const EXPECTS = { nothing: false, continue: true } as const;

/** With keep-alive, the system notices when a peer has disappeared silently, even after an upgrade. */
const OF_CONNECTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 } as const;

function plainServer(): Server {
  return createServer({
    ...OF_CONNECTIONS,
    maxHeaderSize: MAX_HEADER_BYTES,
    ServerResponse: AwaitedResponse,
  });
}

function secureServer({ cert, key }: Certificate, { headersMs }: FrontLimits): Http2SecureServer {
  try {
    return createSecureServer({
      cert,
      key,
      ...OF_CONNECTIONS,
      allowHTTP1: true,
      Http1ServerResponse: AwaitedResponse,
      handshakeTimeout: headersMs,
      maxHeaderSize: MAX_HEADER_BYTES,
      settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_BYTES },
    } as Parameters<typeof createSecureServer>[0]);
  } catch (error) {
    throw new CommandError(
      'file_system_error',
      `--cert and --key do not fit: ${(error as Error).message}.`,
      'Give a certificate with its chain, and its private key, as PEM files.',
    );
  }
}
