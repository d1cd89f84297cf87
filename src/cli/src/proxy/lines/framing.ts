import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { faultOf, valuesOf } from './header-lines';

/** A request of either version of HTTP. */
export type ProxyRequest = IncomingMessage | Http2ServerRequest;

/** Whether it came over HTTP/2. The stream shows that: anybody can write HTTP/2.0 into a request line. */
export function isHttp2(request: ProxyRequest): request is Http2ServerRequest {
  return request.httpVersionMajor === 2 && (request as Partial<Http2ServerRequest>).stream !== undefined;
}

/** Why a request cannot be passed on, as the end of a sentence; undefined if nothing is wrong. */
export function requestFault(request: ProxyRequest): string | undefined {
  if (!isHttp2(request) && !/^1\.[01]$/.test(request.httpVersion)) return 'its version of HTTP is not 1.1';
  return faultOf(request.rawHeaders);
}

/** The length of a body in bytes; undefined if it is not announced. */
export function bodyLength(request: ProxyRequest): number | undefined {
  const [length] = valuesOf(request.rawHeaders, 'content-length');
  if (length !== undefined) return Number(length);
  if (isHttp2(request)) return request.stream.endAfterHeaders ? 0 : undefined;
  return valuesOf(request.rawHeaders, 'transfer-encoding').length > 0 ? undefined : 0;
}

/** The methods for which no server expects a body. With any other method, a server may treat a missing length as an error. */
const WITHOUT_BODY: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS']);

/**
 * The lines that say how long a body is. They replace the lines that arrived, none of which may stay.
 *
 * @param length the length in bytes; undefined if it is only known at the end
 */
export function framingLines(method: string, length: number | undefined): string[] {
  if (length === undefined) return ['Transfer-Encoding', 'chunked'];
  return length > 0 || !WITHOUT_BODY.has(method) ? ['Content-Length', String(length)] : [];
}
