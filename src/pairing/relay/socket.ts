import { AmeshError } from '../../core/errors/amesh-error';
import { isCertificateError, ProxyError } from '../../proxy/proxy-error';
import { type HttpProxy, routeTo } from '../../proxy/route';
import { MAX_FRAME_BYTES, type RelayFrame, readRelayFrame } from './frame';

/** What is used of a WebSocket, which the one of `ws` and that of every other runtime have. */
type Socket = Pick<WebSocket, 'send' | 'close' | 'addEventListener'>;

const CONNECT_MS = 10_000;
/** How long the other end may take to say goodbye, until it no longer matters. */
const CLOSE_MS = 2_000;
/** A session is 32 messages a side; a relay that says more is none. */
const MAX_WAITING_FRAMES = 64;

/** A connection to a relay: what it says comes out one by one. */
export class RelaySocket {
  readonly #place: Place;
  readonly #socket: Socket;
  readonly #frames: RelayFrame[] = [];
  #failure: AmeshError | undefined;
  #wake: () => void = () => {};
  readonly #closed: Promise<void>;

  private constructor(place: Place, socket: Socket) {
    this.#place = place;
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => this.#take(data));
    socket.addEventListener('error', () => {}); // 'close' follows
    this.#closed = new Promise((resolve) => {
      socket.addEventListener('close', () => {
        this.#fail('closed the connection');
        resolve();
      });
    });
  }

  /**
   * Through the proxy that the environment names for it, on Node.
   *
   * @param ms how long it may take, the way through the proxy included; default 10,000
   * @throws AmeshError `relay_unreachable`; the signal's reason where it is aborted; TypeError for a variable that names
   *   no proxy
   */
  static async connect(url: string, signal?: AbortSignal, ms: number = CONNECT_MS): Promise<RelaySocket> {
    signal?.throwIfAborted();
    const until = performance.now() + ms;
    const place: Place = { url, proxy: proxyOf(url) };
    const socket = await newSocket(place, ms, signal);
    const relay = new RelaySocket(place, socket);
    await new Promise<void>((resolve, reject) => {
      const give = (error: unknown) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        socket.close();
        reject(error);
      };
      const late = () => give(unreachable(place, `did not answer within ${ms / 1000} s`));
      const timer = setTimeout(late, until - performance.now());
      const onAbort = () => give(signal?.reason);
      signal?.addEventListener('abort', onAbort);
      if (signal?.aborted) onAbort(); // while the proxy was asked
      socket.addEventListener('error', (event) => give(refusalOf(place, whyOf(event))));
      socket.addEventListener('close', () => give(unreachable(place, 'closed the connection')));
      socket.addEventListener('open', () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
    });
    return relay;
  }

  /**
   * Whether this connection has failed, or something has been heard that is an end and was not read yet.
   *
   * @param isEnd what counts as one
   */
  isOver(isEnd: (frame: RelayFrame) => boolean): boolean {
    return this.#failure !== undefined || this.#frames.some(isEnd);
  }

  send(frame: object): void {
    try {
      this.#socket.send(JSON.stringify(frame));
    } catch {
      this.#fail('closed the connection');
    }
  }

  /**
   * The next that the relay says.
   *
   * @returns null where nothing has come until then
   * @throws AmeshError `relay_unreachable` once the connection is gone and all has been read; the signal's reason
   */
  async next(ms: number, signal?: AbortSignal): Promise<RelayFrame | null> {
    const until = performance.now() + ms;
    for (;;) {
      signal?.throwIfAborted();
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#failure !== undefined) throw this.#failure;
      const left = until - performance.now();
      if (left <= 0) return null;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', this.#wake);
          resolve();
        };
        signal?.addEventListener('abort', this.#wake, { once: true });
      });
      this.#wake();
    }
  }

  /** Ends it, after all that was sent has been taken or two seconds are over. */
  async close(): Promise<void> {
    this.#failure ??= unreachable(this.#place, 'is not connected any more');
    this.#socket.close();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    await Promise.race([this.#closed, patience]);
    clearTimeout(timer);
    if ('terminate' in this.#socket) (this.#socket as { terminate(): void }).terminate();
  }

  #take(data: unknown): void {
    const frame = typeof data === 'string' && data.length <= MAX_FRAME_BYTES ? readRelayFrame(data) : null;
    if (frame === null || this.#frames.length >= MAX_WAITING_FRAMES) {
      this.#fail('does not speak like an amesh relay');
      this.#socket.close();
      return;
    }
    this.#frames.push(frame);
    this.#wake();
  }

  #fail(why: string): void {
    this.#failure ??= unreachable(this.#place, why);
    this.#wake();
  }
}

/** Where a relay is, and what stands on the way. */
interface Place {
  readonly url: string;
  readonly proxy: HttpProxy | null;
}

/** `The relay at wss://relay.example.com/ws, through the proxy …,` */
function nameOf({ url, proxy }: Place): string {
  return `The relay at ${url}${proxy === null ? '' : `, through the proxy ${proxy.shown} (${proxy.variable}),`}`;
}

function unreachable(place: Place, why: string, fix?: string): AmeshError {
  return new AmeshError('relay_unreachable', `${nameOf(place)} ${why}. Your devices are fine.`, { fix });
}

let loading: Promise<typeof import('ws')> | undefined;

/** Loaded once: a process that has given up root may no longer be able to read its own packages. */
export function loadWebSocket(): Promise<typeof import('ws')> {
  loading ??= import('ws');
  return loading;
}

let loadingTunnel: Promise<typeof import('../../proxy/tunnel')> | undefined;

/** As {@link loadWebSocket}; it needs modules of Node. */
export function loadTunnel(): Promise<typeof import('../../proxy/tunnel')> {
  loadingTunnel ??= import('../../proxy/tunnel');
  return loadingTunnel;
}

/** Node has a WebSocket of its own from version 22 on, which can neither limit a frame nor say why it failed. */
function isNode(): boolean {
  return globalThis.process?.versions?.node !== undefined && !('Bun' in globalThis || 'Deno' in globalThis);
}

function proxyOf(url: string): HttpProxy | null {
  const route = isNode() ? routeTo(new URL(url), process.env) : null;
  return route?.by === 'proxy' ? route.proxy : null;
}

async function newSocket(place: Place, ms: number, signal: AbortSignal | undefined): Promise<Socket> {
  const { url, proxy } = place;
  if (!isNode()) return new WebSocket(url);
  const { WebSocket: NodeWebSocket } = await loadWebSocket();
  const tunnel = proxy === null ? null : await dig(place, proxy, ms, signal);
  return new NodeWebSocket(url, {
    handshakeTimeout: ms,
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
    followRedirects: false,
    ...(tunnel === null ? {} : { createConnection: () => tunnel as import('node:net').Socket }),
  }) as unknown as Socket;
}

async function dig(place: Place, proxy: HttpProxy, ms: number, signal: AbortSignal | undefined) {
  const { openTunnel } = await loadTunnel();
  try {
    return await openTunnel(proxy, new URL(place.url), { ms, signal });
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ProxyError)
      throw new AmeshError('relay_unreachable', `${error.message} Your devices are fine.`, {
        fix: error.fix,
        cause: error,
      });
    const { code } = error as { code?: unknown };
    const isForged = typeof code === 'string' && isCertificateError(code);
    throw unreachable(place, whyOf({ error }), isForged ? TRUST_PROXY : undefined);
  }
}

const TRUST_PROXY =
  'Where the proxy looks into TLS, trust the authority of your company: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem';

/** What stands before a relay answers 429 or 503 where there is no room behind it; any other answer is a web server's. */
function refusalOf(place: Place, why: string): AmeshError {
  const { url } = place;
  if (url.startsWith('wss:') && /\b(?:EPROTO|ERR_SSL_WRONG_VERSION_NUMBER)\b/.test(why))
    return unreachable(
      place,
      'answers without TLS',
      `Where that relay is yours: --relay ${url.replace('wss:', 'ws:')}`,
    );
  const status = /Unexpected server response: (\d{3})\b/.exec(why)?.[1];
  if (status === undefined) return unreachable(place, why);
  if (status === '429' || status === '503')
    return new AmeshError('relay_busy', `${nameOf(place)} is busy (${status}).`);
  const usual = new URL('/ws', url).href;
  return new AmeshError(
    'relay_unreachable',
    `A web server answers at ${url}, and no relay (HTTP ${status}). Your devices are fine.`,
    {
      fix:
        url === usual
          ? 'Check the name, the port and ws:// or wss://. A proxy before the relay has to pass on WebSockets.'
          : `Check the path: the one of a relay is /ws, where nobody has changed it. Try: --relay ${usual}`,
    },
  );
}

/** `did not answer (ECONNREFUSED)`, as far as the runtime says it. */
function whyOf(event: object): string {
  const { error, message } = event as { error?: { code?: unknown; message?: unknown }; message?: unknown };
  const why = [error?.code, error?.message, message].find((text) => typeof text === 'string' && text !== '');
  return why === undefined ? 'did not answer' : `did not answer (${String(why).slice(0, 100)})`;
}
