import { AmeshError, type AmeshErrorOptions } from '../../core/errors/amesh-error';
import { isCertificateError, ProxyError } from '../../proxy/proxy-error';
import { type HttpProxy, routeTo } from '../../proxy/route';
import { PAIRING_CODES } from '../errors/codes';
import { MAX_FRAME_BYTES } from './frame';

/** The part of a WebSocket that a connection to a relay needs, of `ws` or of the runtime. */
export type Socket = Pick<WebSocket, 'send' | 'close' | 'addEventListener'>;

/** A relay, and the proxy in front of it. */
export interface Endpoint {
  readonly url: string;
  readonly proxy: HttpProxy | null;
}

/** `The relay at wss://relay.example.com/ws, through the proxy …,` */
function nameOf({ url, proxy }: Endpoint): string {
  return `The relay at ${url}${proxy === null ? '' : `, through the proxy ${proxy.shown} (${proxy.variable}),`}`;
}

/** The error if there is no relay at a URL, but probably at another one. */
export class OtherUrlError extends Error {
  /** The URL to try instead. */
  readonly url: string;

  /**
   * Creates the error for one relay.
   *
   * @param url the URL to try instead
   * @param why the error of the connection
   */
  constructor(url: string, why: string) {
    super(why);
    this.url = url;
  }
}

export function unreachable(endpoint: Endpoint, why: string, options: AmeshErrorOptions = {}): AmeshError {
  return new AmeshError(
    PAIRING_CODES.relay_unreachable,
    `${nameOf(endpoint)} ${why}. Your devices are fine.`,
    options,
  );
}

let loading: Promise<typeof import('ws')> | undefined;

/** Loads `ws` once: a process that gave up root may no longer be able to read its own packages. */
export function loadWebSocket(): Promise<typeof import('ws')> {
  loading ??= import('ws');
  return loading;
}

let loadingTunnel: Promise<typeof import('../../proxy/tunnel')> | undefined;

/** Loads the tunnel once, like {@link loadWebSocket}. It needs Node's modules. */
export function loadTunnel(): Promise<typeof import('../../proxy/tunnel')> {
  loadingTunnel ??= import('../../proxy/tunnel');
  return loadingTunnel;
}

/** Node has its own WebSocket from version 22, but that can neither limit a frame nor say why it failed. */
function isNode(): boolean {
  return globalThis.process?.versions?.node !== undefined && !('Bun' in globalThis || 'Deno' in globalThis);
}

/**
 * The relay at a URL, on Node with the proxy from the environment.
 *
 * @throws TypeError for a variable that is not a proxy
 */
export function endpointOf(url: string): Endpoint {
  const route = isNode() ? routeTo(new URL(url), process.env) : null;
  return { url, proxy: route?.by === 'proxy' ? route.proxy : null };
}

/** Creates a WebSocket that starts to open. */
export async function newSocket(
  endpoint: Endpoint,
  ms: number,
  signal: AbortSignal | undefined,
): Promise<Socket> {
  const { url, proxy } = endpoint;
  if (!isNode()) return new WebSocket(url);
  const { WebSocket: NodeWebSocket } = await loadWebSocket();
  const tunnel = proxy === null ? null : await openTunnelTo(endpoint, proxy, ms, signal);
  return new NodeWebSocket(url, {
    handshakeTimeout: 2 * ms, // only a fallback: waitForOpen() reports this earlier, in our words
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
    followRedirects: false,
    ...(tunnel === null ? {} : { createConnection: () => tunnel as import('node:net').Socket }),
  }) as unknown as Socket;
}

/**
 * Waits until a socket is open, and closes it if it fails to open.
 *
 * @throws AmeshError `relay_unreachable`, `relay_busy`; the signal's reason
 */
export async function waitForOpen(
  socket: Socket,
  endpoint: Endpoint,
  timeout: { readonly ms: number; readonly shownSeconds: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  const settled = new AbortController();
  try {
    await new Promise<void>((resolve, reject) => {
      const { signal: once } = settled;
      const onAbort = () => reject(signal?.reason);
      const late = () => reject(unreachable(endpoint, `did not respond within ${timeout.shownSeconds} s`));
      const timer = setTimeout(late, timeout.ms);
      once.addEventListener('abort', () => clearTimeout(timer));
      signal?.addEventListener('abort', onAbort, { signal: once });
      if (signal?.aborted) onAbort(); // aborted while the proxy opened a tunnel
      socket.addEventListener('error', (event) => reject(refusalOf(endpoint, whyOf(event))));
      socket.addEventListener('close', () => reject(unreachable(endpoint, 'closed the connection')));
      socket.addEventListener('open', () => resolve());
    });
  } catch (error) {
    socket.close();
    throw error;
  } finally {
    settled.abort();
  }
}

async function openTunnelTo(
  endpoint: Endpoint,
  proxy: HttpProxy,
  ms: number,
  signal: AbortSignal | undefined,
) {
  const { openTunnel } = await loadTunnel();
  try {
    return await openTunnel(proxy, new URL(endpoint.url), { ms, signal });
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ProxyError)
      throw new AmeshError(PAIRING_CODES.relay_unreachable, `${error.message} Your devices are fine.`, {
        fix: error.fix,
        cause: error,
      });
    const { code } = error as { code?: unknown };
    const isForged = typeof code === 'string' && isCertificateError(code);
    throw unreachable(endpoint, whyOf({ error }), isForged ? { fix: TRUST_PROXY } : {});
  }
}

const TRUST_PROXY =
  "If the proxy intercepts TLS, trust your company's CA: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem";

/**
 * The error for a refused connection. A load balancer responds 429 or 503 if no relay behind it has room. Any other response comes
 * from a web server.
 */
function refusalOf(endpoint: Endpoint, why: string): AmeshError {
  const { url } = endpoint;
  if (url.startsWith('wss:') && /\b(?:EPROTO|ERR_SSL_WRONG_VERSION_NUMBER)\b/.test(why)) {
    const cause = new OtherUrlError(url.replace(/^wss:/, 'ws:'), why);
    const fix = `If that relay is yours: --relay ${cause.url}`;
    return unreachable(endpoint, 'does not use TLS', { fix, cause });
  }
  const status = /Unexpected server response: (\d{3})\b/.exec(why)?.[1];
  if (status === undefined) return unreachable(endpoint, why);
  if (status === '429' || status === '503')
    return new AmeshError(PAIRING_CODES.relay_busy, `${nameOf(endpoint)} is busy (${status}).`);
  const usual = new URL('/ws', url).href;
  const options =
    url === usual
      ? {
          fix: 'Check the name, the port, and ws:// or wss://. A proxy in front of the relay must forward WebSockets.',
        }
      : {
          fix: `Check the path: by default, the path of a relay is /ws. Try: --relay ${usual}`,
          cause: new OtherUrlError(usual, why),
        };
  return new AmeshError(
    PAIRING_CODES.relay_unreachable,
    `There is a web server at ${url}, not a relay (HTTP ${status}). Your devices are fine.`,
    options,
  );
}

/** `did not respond (ECONNREFUSED)`, with the reason if the runtime gives one. */
function whyOf(event: object): string {
  const { error, message } = event as { error?: { code?: unknown; message?: unknown }; message?: unknown };
  const why = [error?.code, error?.message, message].find((text) => typeof text === 'string' && text !== '');
  return why === undefined ? 'did not respond' : `did not respond (${String(why).slice(0, 100)})`;
}
