import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type HttpProxy, openTunnel, ProxyError, routeTo } from '@authmesh/sdk/admin';
import { PATIENCE_MS } from './finding';

/** Less than a check may take, so that it can say that the proxy has not answered. */
const TUNNEL_MS = PATIENCE_MS - 1000;

/** The proxy through which a URL is reached from here; null where there is none. @throws TypeError for a wrong variable */
export function proxyTo(url: URL): HttpProxy | null {
  const route = routeTo(url, process.env);
  return route.by === 'proxy' ? route.proxy : null;
}

/**
 * The global `fetch`, through the proxy of the environment, which that of Node mostly leaves out. For requests without a
 * body whose answer is not read beyond its headers.
 *
 * @throws ProxyError where the proxy opens no way; TypeError for a wrong variable; whatever `fetch` throws
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

/** A connection through a proxy, in the time that a check has. */
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
    asked.once('response', (answer) => {
      socket.destroy();
      try {
        resolve(toResponse(answer));
      } catch {
        reject(new Error(`HTTP ${answer.statusCode}, which cannot be read`));
      }
    });
    asked.end();
  });
}

/** @throws RangeError for a status that HTTP does not have, which node:http takes; TypeError for such a header */
function toResponse({ headersDistinct, statusCode = 0 }: IncomingMessage): Response {
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(headersDistinct))
    for (const value of values) headers.append(name, value);
  return new Response(null, { status: statusCode, headers });
}
