import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type HttpProxy, openTunnel, ProxyError, routeTo, SENDS_ONCE } from '@authmesh/sdk/admin';
import { PATIENCE_MS } from './finding';

/** Shorter than a check, so that the check can report that the proxy did not respond. */
const TUNNEL_MS = PATIENCE_MS - 1000;

/** The proxy for a URL; null if there is none. @throws TypeError for a wrong variable */
export function proxyTo(url: URL): HttpProxy | null {
  const route = routeTo(url, process.env);
  return route.by === 'proxy' ? route.proxy : null;
}

/**
 * The global `fetch`, but through the environment's proxy, which Node's fetch usually ignores. It is for requests without a body,
 * and reads only the headers of the response.
 *
 * @throws ProxyError if the proxy opens no tunnel; TypeError for a wrong variable; any error of `fetch`
 */
export const fetchFromHere: typeof fetch = async (input, init) => {
  const request = new Request(input, init);
  const url = new URL(request.url);
  const proxy = proxyTo(url);
  if (proxy === null) return fetch(input, init);
  try {
    return await send(request, url, await tunnelTo(proxy, url, request.signal));
  } catch (error) {
    if (error instanceof ProxyError || request.signal.aborted) throw error;
    throw new TypeError('fetch failed', { cause: error });
  }
};
Object.defineProperty(fetchFromHere, SENDS_ONCE, { value: true });

/** Opens a connection through a proxy, within the time limit of a check. */
export function tunnelTo(proxy: HttpProxy, url: URL, signal?: AbortSignal): Promise<Duplex> {
  return openTunnel(proxy, url, { ms: TUNNEL_MS, signal });
}

function send({ method, headers, signal }: Request, url: URL, socket: Duplex): Promise<Response> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest({
      createConnection: () => socket,
      method,
      path: url.pathname + url.search,
      headers: { ...Object.fromEntries(headers), host: url.host, connection: 'close' },
      signal,
    });
    asked.once('error', reject);
    asked.once('close', () => reject(new Error('HTTP 101, which nobody asked for'))); // without any other event
    asked.once('response', (answer) => {
      socket.destroy();
      try {
        resolve(toResponse(answer));
      } catch {
        reject(new Error(`HTTP ${answer.statusCode}, which is not valid HTTP`));
      }
    });
    asked.end();
  });
}

/** @throws RangeError for an invalid HTTP status, which node:http accepts; TypeError for an invalid header */
function toResponse({ headersDistinct, statusCode = 0 }: IncomingMessage): Response {
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(headersDistinct))
    for (const value of values) headers.append(name, value);
  return new Response(null, { status: statusCode, headers });
}
