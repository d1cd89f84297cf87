import { isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { portOfUrl } from './no-proxy';
import { type Destination, explainAnswer, explainPatience, explainSilence } from './proxy-error';
import type { HttpProxy } from './route';

/** The time limit of a tunnel. */
export interface TunnelOptions {
  /** In milliseconds, for the proxy's response and the TLS handshake after it together. */
  readonly ms: number;
  /** Cancels it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens a connection to the host of a URL through a proxy with CONNECT, and with TLS for `https:` and `wss:`.
 *
 * @throws ProxyError if the proxy is at fault, or the signal is a timeout; the signal's reason; TLS errors of the
 *   server behind the proxy
 */
export async function openTunnel(proxy: HttpProxy, url: URL, { ms, signal }: TunnelOptions): Promise<Duplex> {
  signal?.throwIfAborted();
  const to: Destination = {
    authority: `${url.hostname}:${portOfUrl(url)}`,
    host: url.hostname,
    port: portOfUrl(url),
  };
  const ending = new AbortController();
  const late = explainPatience(proxy, to, ms);
  // After a timeout, the error says which side did not respond.
  const onAbort = () => ending.abort(signal?.reason?.name === 'TimeoutError' ? late : signal?.reason);
  signal?.addEventListener('abort', onAbort);
  const timer = setTimeout(() => ending.abort(late), ms);
  try {
    const socket = await askProxy(proxy, to, ending.signal);
    const isSecure = url.protocol === 'https:' || url.protocol === 'wss:';
    return isSecure ? await secure(socket, url, ending.signal) : socket;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

function askProxy(proxy: HttpProxy, to: Destination, signal: AbortSignal): Promise<Socket> {
  const { url } = proxy;
  // Loaded only here: loading these takes longer than most commands take without them.
  const { request: ask } = process.getBuiltinModule(url.protocol === 'https:' ? 'node:https' : 'node:http');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return new Promise((resolve, reject) => {
    const request = ask({
      host,
      port: portOfUrl(url),
      ...(isIP(host) === 0 && url.protocol === 'https:' ? { servername: host } : {}),
      method: 'CONNECT',
      path: to.authority,
      headers: { host: to.authority, ...authorization(url) },
      agent: false, // Node's own agent may use the environment's proxy
      signal,
    });
    request.once('connect', ({ statusCode = 0, headers }, socket: Socket, head) => {
      if (statusCode < 200 || statusCode > 299) {
        socket.destroy();
        const challenges = String(headers['proxy-authenticate'] ?? '');
        reject(explainAnswer(proxy, to, statusCode, challenges));
        return;
      }
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.on('error', (error) => {
      reject(signal.aborted ? signal.reason : explainSilence(proxy, to, error));
    });
    request.end();
  });
}

function authorization({ username, password }: URL): { 'proxy-authorization'?: string } {
  if (username === '' && password === '') return {};
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(login).toString('base64')}` };
}

/** Starts TLS with the server behind the proxy, so that the proxy cannot read the connection. */
function secure(socket: Socket, { hostname }: URL, signal: AbortSignal): Promise<Duplex> {
  const host = hostname.replace(/^\[|\]$/g, '');
  const { connect } = process.getBuiltinModule('node:tls');
  return new Promise((resolve, reject) => {
    const secured = connect({
      socket,
      host,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ['http/1.1'],
    });
    const settle = () => signal.removeEventListener('abort', onAbort);
    const fail = (error: unknown) => {
      settle();
      socket.destroy();
      reject(error);
    };
    const onAbort = () => {
      secured.destroy();
      fail(signal.reason); // not by the socket, which fails with nothing but an error
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort);
    secured.once('secureConnect', () => {
      settle();
      secured.off('error', fail);
      resolve(secured);
    });
    secured.once('error', fail);
  });
}
