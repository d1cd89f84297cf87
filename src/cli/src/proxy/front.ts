import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createSecureServer, type Http2SecureServer, type Http2Session } from 'node:http2';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CommandError } from '../errors/errors';
import type { ProxyRequest } from './lines/framing';
import { breakOff, type ProxyResponse } from './reply';
import { refuseUpgrade } from './upgrade';

/** What handles the requests of a {@link Front}. */
export interface Handler {
  handle(request: ProxyRequest, response: ProxyResponse, how: { readonly isExpecting: boolean }): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
}

/** A certificate and its key, PEM both. */
export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

const HEADERS_MS = 15_000;
/** Longer than any --timeout. */
const IDLE_MS = 900_000;
const MAX_CONNECTIONS = 10_000;
const MAX_HEADER_BYTES = 32_768;
const MAX_STREAMS = 100;

/** The server of a proxy: HTTP/1.1, and over TLS HTTP/2, too. */
export class Front {
  readonly server: Server | Http2SecureServer;
  readonly #connections = new Set<Duplex>();
  readonly #sessions = new Set<Http2Session>();
  #isEnding = false;

  /** @throws CommandError `file_system_error` for a certificate that is none */
  constructor(handler: Handler, certificate?: Certificate) {
    const server = certificate === undefined ? plainServer() : secureServer(certificate);
    this.server = server;
    // Either kind has these events.
    const events = server as Server;
    events.maxConnections = MAX_CONNECTIONS;
    events.headersTimeout = HEADERS_MS;
    events.requestTimeout = 0; // of a body that may be large, and that is read for known callers only
    events.timeout = IDLE_MS;
    events.keepAliveTimeout = 65_000; // longer than a proxy in front keeps an idle connection
    const handle = (request: IncomingMessage, response: ServerResponse, isExpecting: boolean) => {
      response.on('error', () => {}); // a client that goes away
      if (this.#isEnding) this.#lastOn(response);
      try {
        handler.handle(request, response, { isExpecting });
      } catch {
        breakOff(response); // of a stream that was reset, for example: it must not end the process
      }
    };
    events.on('request', (request, response) => handle(request, response, EXPECTS.nothing));
    events.on('checkContinue', (request, response) => handle(request, response, EXPECTS.continue));
    events.on('upgrade', (request, socket, head) => {
      socket.on('error', () => {});
      if (socket instanceof Socket) socket.setTimeout(0);
      void handler.upgrade(request, socket, head);
    });
    events.on('connect', (_request: IncomingMessage, socket: Duplex) => {
      socket.on('error', () => {});
      refuseUpgrade(socket, { status: 405, body: '{"error":"malformed_header"}' });
    });
    for (const event of ['connection', 'secureConnection'])
      server.on(event, (socket: Duplex) => {
        this.#connections.add(socket);
        socket.once('close', () => this.#connections.delete(socket));
      });
    server.on('session', (session: Http2Session) => {
      this.#sessions.add(session);
      session.on('error', () => {});
      session.once('close', () => this.#sessions.delete(session));
    });
  }

  /** Whether it takes no more connections. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** Takes no more connections, and waits for what is open: for `graceMs`, or until `cut` settles. */
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

  /** Its connection ends with this response. */
  #lastOn(response: ServerResponse): void {
    if (response.req.httpVersionMajor === 1) response.setHeader('connection', 'close');
    response.once('close', () => setImmediate(() => this.#closeIdle()));
  }
}

const EXPECTS = { nothing: false, continue: true } as const;

/** A peer that is gone without a word is found out, also behind an upgrade. */
const OF_CONNECTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 } as const;

function plainServer(): Server {
  return createServer({ ...OF_CONNECTIONS, maxHeaderSize: MAX_HEADER_BYTES });
}

function secureServer({ cert, key }: Certificate): Http2SecureServer {
  try {
    return createSecureServer({
      cert,
      key,
      ...OF_CONNECTIONS,
      allowHTTP1: true,
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
