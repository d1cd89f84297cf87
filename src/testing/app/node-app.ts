import { type ClientRequest, createServer, type IncomingMessage, request, type Server } from 'node:http';
import { Readable } from 'node:stream';
import type { AppFetch } from './app-fetch';
import { pipe } from './pipe';

/** A handler for node:http, which may take further arguments of a framework. */
// biome-ignore lint/suspicious/noExplicitAny: each framework has its own types for the two
export type NodeHandler = (request: any, response: any) => unknown;

/** Whether the node:http of this runtime accepts our own objects as sockets. */
const isNode = typeof process === 'object' && !('bun' in process.versions) && !('deno' in process.versions);

/** Responses with these statuses have no body (RFC 9110 section 6.4.1). */
const BODILESS = [204, 205, 304];

/** @throws TypeError on Bun and Deno */
export function handlerFetch(handler: NodeHandler): AppFetch {
  return serverFetch(createServer(handler));
}

/**
 * Calls a server that need not listen: its own parser reads each request from a connection in memory.
 *
 * @throws TypeError on Bun and Deno
 */
export function serverFetch(server: Server): AppFetch {
  if (!isNode)
    throw new TypeError(
      'Only Node can call a server in memory. Here, let it listen on port 0, and give fetch() its URL.',
    );
  return (url, init) =>
    new Promise((resolve, reject) => {
      const { signal } = init;
      signal?.throwIfAborted();
      const encrypted = url.protocol === 'https:';
      const [near, far] = pipe({ encrypted });
      const sending = request({
        createConnection: () => near,
        method: init.method ?? 'GET',
        path: url.pathname + url.search,
        headers: toLines(url, init),
        setHost: false,
      });
      const abort = () => sending.destroy(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
      near.once('close', () => signal?.removeEventListener('abort', abort));
      sending.once('response', (incoming) => {
        signal?.addEventListener('abort', () => incoming.destroy(signal.reason), { once: true });
        resolve(toResponse(incoming, url));
      });
      sending.once('upgrade', () => {
        near.destroy();
        reject(new TypeError('The app switched protocols: let it listen, and call it there.'));
      });
      sending.once('error', (cause) =>
        reject(signal?.aborted ? signal.reason : new TypeError('fetch failed', { cause })),
      );
      server.emit(server.listenerCount('secureConnection') > 0 ? 'secureConnection' : 'connection', far);
      send(sending, init.body);
    });
}

function toLines(url: URL, { headers, body }: RequestInit): Record<string, string> {
  const lines = Object.fromEntries(new Headers(headers));
  const length = body instanceof Uint8Array ? { 'content-length': String(body.length) } : {};
  return { host: url.host, ...lines, ...length };
}

function send(sending: ClientRequest, body: RequestInit['body']): void {
  if (!(body instanceof ReadableStream)) {
    sending.end(body ?? undefined);
    return;
  }
  const source = Readable.fromWeb(body as import('node:stream/web').ReadableStream);
  source.once('error', (error) => sending.destroy(error));
  sending.once('close', () => source.destroy());
  source.pipe(sending);
}

function toResponse(incoming: IncomingMessage, url: URL): Response {
  const { statusCode: status = 0, statusMessage: statusText = '', rawHeaders } = incoming;
  const headers = new Headers();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    headers.append(rawHeaders[i] as string, rawHeaders[i + 1] as string);
  const isBodiless = BODILESS.includes(status);
  if (isBodiless) incoming.resume();
  const body = isBodiless ? null : (Readable.toWeb(incoming) as ReadableStream<Uint8Array>);
  const response = new Response(body, { status, statusText, headers });
  Object.defineProperty(response, 'url', { configurable: true, value: url.href });
  return response;
}
