import { AmeshError } from '../../core/errors/amesh-error';
import { isCertificateError, ProxyError } from '../../proxy/proxy-error';
import { type HttpProxy, routeTo } from '../../proxy/route';
import { PAIRING_CODES } from '../errors/codes';
import { MAX_FRAME_BYTES } from './frame';

/** What both the WebSocket of `ws` and the one of every other runtime have, and a connection to a relay needs. */
export type Socket = Pick<WebSocket, 'send' | 'close' | 'addEventListener'>;

/** Where a relay is, and the proxy on the way to it. */
export interface Endpoint {
  readonly url: string;
  readonly proxy: HttpProxy | null;
}

/** `The relay at wss://relay.example.com/ws, through the proxy …,` */
function nameOf({ url, proxy }: Endpoint): string {
  return `The relay at ${url}${proxy === null ? '' : `, through the proxy ${proxy.shown} (${proxy.variable}),`}`;
}

export function unreachable(endpoint: Endpoint, why: string, fix?: string): AmeshError {
  return new AmeshError(
    PAIRING_CODES.relay_unreachable,
    `${nameOf(endpoint)} ${why}. Your devices are fine.`,
    { fix },
  );
}

let loading: Promise<typeof import('ws')> | undefined;

/** Loads `ws`, once: a process that has given up root may no longer be able to read its own packages. */
export function loadWebSocket(): Promise<typeof import('ws')> {
  loading ??= import('ws');
  return loading;
}

let loadingTunnel: Promise<typeof import('../../proxy/tunnel')> | undefined;

/** Loads the tunnel, once, as {@link loadWebSocket}. It needs modules of Node. */
export function loadTunnel(): Promise<typeof import('../../proxy/tunnel')> {
  loadingTunnel ??= import('../../proxy/tunnel');
  return loadingTunnel;
}

/** From version 22 on Node has its own WebSocket, which can neither limit a frame nor say why it failed. */
function isNode(): boolean {
  return globalThis.process?.versions?.node !== undefined && !('Bun' in globalThis || 'Deno' in globalThis);
}

/**
 * The relay of a URL, through the proxy that the environment names for it, on Node.
 *
 * @throws TypeError for a variable that names no proxy
 */
export function endpointOf(url: string): Endpoint {
  const route = isNode() ? routeTo(new URL(url), process.env) : null;
  return { url, proxy: route?.by === 'proxy' ? route.proxy : null };
}

/** A WebSocket that is about to open. */
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
    handshakeTimeout: ms,
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
    followRedirects: false,
    ...(tunnel === null ? {} : { createConnection: () => tunnel as import('node:net').Socket }),
  }) as unknown as Socket;
}

/**
 * Waits until a socket is open, and closes it where it does not open.
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
      const late = () => reject(unreachable(endpoint, `did not answer within ${timeout.shownSeconds} s`));
      const timer = setTimeout(late, timeout.ms);
      once.addEventListener('abort', () => clearTimeout(timer));
      signal?.addEventListener('abort', onAbort, { signal: once });
      if (signal?.aborted) onAbort(); // while the proxy was asked
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
    throw unreachable(endpoint, whyOf({ error }), isForged ? TRUST_PROXY : undefined);
  }
}

const TRUST_PROXY =
  'Where the proxy looks into TLS, trust the authority of your company: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem';

/** A load balancer answers 429 or 503 where no relay behind it has room. Any other answer is the one of a web server. */
function refusalOf(endpoint: Endpoint, why: string): AmeshError {
  const { url } = endpoint;
  if (url.startsWith('wss:') && /\b(?:EPROTO|ERR_SSL_WRONG_VERSION_NUMBER)\b/.test(why))
    return unreachable(
      endpoint,
      'answers without TLS',
      `Where that relay is yours: --relay ${url.replace('wss:', 'ws:')}`,
    );
  const status = /Unexpected server response: (\d{3})\b/.exec(why)?.[1];
  if (status === undefined) return unreachable(endpoint, why);
  if (status === '429' || status === '503')
    return new AmeshError(PAIRING_CODES.relay_busy, `${nameOf(endpoint)} is busy (${status}).`);
  const usual = new URL('/ws', url).href;
  return new AmeshError(
    PAIRING_CODES.relay_unreachable,
    `A web server answers at ${url}, and no relay (HTTP ${status}). Your devices are fine.`,
    {
      fix:
        url === usual
          ? 'Check the name, the port and ws:// or wss://. A proxy before the relay has to pass on WebSockets.'
          : `Check the path: the one of a relay is /ws, where nobody has changed it. Try: --relay ${usual}`,
    },
  );
}

/** `did not answer (ECONNREFUSED)`, with the reason where the runtime gives one. */
function whyOf(event: object): string {
  const { error, message } = event as { error?: { code?: unknown; message?: unknown }; message?: unknown };
  const why = [error?.code, error?.message, message].find((text) => typeof text === 'string' && text !== '');
  return why === undefined ? 'did not answer' : `did not answer (${String(why).slice(0, 100)})`;
}
