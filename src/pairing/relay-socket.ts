import { AmeshError } from '../core/errors';
import { MAX_FRAME_BYTES, type RelayFrame, readRelayFrame } from './relay-frame';

/** What is used of a WebSocket, which the one of `ws` and that of every other runtime have. */
type Socket = Pick<WebSocket, 'send' | 'close' | 'addEventListener'>;

const CONNECT_MS = 10_000;
/** How long the other end may take to say goodbye, until it no longer matters. */
const CLOSE_MS = 2_000;
/** A session is 32 messages a side; a relay that says more is none. */
const MAX_WAITING_FRAMES = 64;

/** A connection to a relay: what it says comes out one by one. */
export class RelaySocket {
  readonly #url: string;
  readonly #socket: Socket;
  readonly #frames: RelayFrame[] = [];
  #failure: AmeshError | undefined;
  #wake: () => void = () => {};
  readonly #closed: Promise<void>;

  private constructor(url: string, socket: Socket) {
    this.#url = url;
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
   * @throws AmeshError `relay_unreachable`; the signal's reason where it is aborted
   */
  static async connect(url: string, signal?: AbortSignal): Promise<RelaySocket> {
    signal?.throwIfAborted();
    const socket = await newSocket(url);
    const relay = new RelaySocket(url, socket);
    await new Promise<void>((resolve, reject) => {
      const give = (error: unknown) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        socket.close();
        reject(error);
      };
      const timer = setTimeout(() => give(unreachable(url, 'did not answer within 10 s')), CONNECT_MS);
      const onAbort = () => give(signal?.reason);
      signal?.addEventListener('abort', onAbort);
      socket.addEventListener('error', (event) => give(refusalOf(url, whyOf(event))));
      socket.addEventListener('close', () => give(unreachable(url, 'closed the connection')));
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
    this.#failure ??= unreachable(this.#url, 'is not connected any more');
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
    this.#failure ??= unreachable(this.#url, why);
    this.#wake();
  }
}

function unreachable(url: string, why: string): AmeshError {
  return new AmeshError('relay_unreachable', `The relay at ${url} ${why}. Your devices are fine.`);
}

let loading: Promise<typeof import('ws')> | undefined;

/** Loaded once: a process that has given up root may no longer be able to read its own packages. */
export function loadWebSocket(): Promise<typeof import('ws')> {
  loading ??= import('ws');
  return loading;
}

async function newSocket(url: string): Promise<Socket> {
  // Node has one of its own from version 22 on, which can neither limit a frame nor say why it failed.
  const isNode =
    globalThis.process?.versions?.node !== undefined && !('Bun' in globalThis || 'Deno' in globalThis);
  if (!isNode) return new WebSocket(url);
  const { WebSocket: NodeWebSocket } = await loadWebSocket();
  return new NodeWebSocket(url, {
    handshakeTimeout: CONNECT_MS,
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
    followRedirects: false,
  }) as unknown as Socket;
}

/** What stands before a relay answers 429 or 503 where there is no room behind it; any other answer is a web server's. */
function refusalOf(url: string, why: string): AmeshError {
  const status = /Unexpected server response: (\d{3})\b/.exec(why)?.[1];
  if (status === undefined) return unreachable(url, why);
  if (status === '429' || status === '503')
    return new AmeshError('relay_busy', `The relay at ${url} is busy (${status}).`);
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
function whyOf(event: Event): string {
  const { error, message } = event as { error?: { code?: unknown; message?: unknown }; message?: unknown };
  const why = [error?.code, error?.message, message].find((text) => typeof text === 'string' && text !== '');
  return why === undefined ? 'did not answer' : `did not answer (${String(why).slice(0, 100)})`;
}
