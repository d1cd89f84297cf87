import { BODY_CODES } from '../../core/errors/codes';
import { Fault, malformed } from '../../core/errors/fault';
import { type HeaderLines, headerLines } from '../../core/wire/view';
import { isHttp2, type NodeRequest } from './request';

/**
 * Whether the last byte has come over the connection, be it with whoever reads or not. Requests of HTTP/2 never set
 * `complete`; their stream has ended instead.
 */
export function hasArrived(request: NodeRequest): boolean {
  if (isHttp2(request)) return request.stream.readableEnded && !isGone(request);
  return request.complete;
}

/**
 * Whether Node's own parser made this request, out of what came over a connection. Only then do its headers say whether
 * a body follows, and only then does `complete` say anything: objects that stand in for a request set both as they like.
 *
 * False as well for a request that is all here while the parser is at the next one of its connection.
 */
export function isFromParser(request: NodeRequest): boolean {
  if (isHttp2(request)) return true;
  const { socket } = request as { socket?: { parser?: { incoming?: unknown } | null } };
  return socket?.parser?.incoming === request;
}

/** Whether the request is a stream at all. Some that stand in for one are not, and hand the body over in another way. */
export function isStream(request: NodeRequest): boolean {
  return isHttp2(request) || (stateOf(request) !== undefined && typeof request.read === 'function');
}

/** Whether whoever reads the request has been told, or will be told next, that no further byte comes. */
export function isAtEnd(request: NodeRequest): boolean {
  return isHttp2(request) ? hasArrived(request) : stateOf(request)?.ended === true;
}

/** Node has no public name for a stream that has its end but has not told it yet. */
function stateOf(request: NodeRequest): { readonly ended?: boolean } | undefined {
  return (request as { _readableState?: { readonly ended?: boolean } })._readableState;
}

/** Whether the client has gone. The streams of HTTP/2 end then as if all had come. */
export function isGone(request: NodeRequest): boolean {
  return isHttp2(request) ? request.stream.aborted || request.stream.destroyed : request.destroyed;
}

/** Takes what has come so far out of a request's stream, and leaves it fit for more. */
export function takeBuffered(request: NodeRequest): Buffer[] {
  const chunks: Buffer[] = [];
  // An empty stream must not be read: that would end it, and a parser after this would wait for ever.
  while (request.readableLength > 0) {
    const chunk: Buffer | null = request.read();
    if (chunk === null) break;
    chunks.push(chunk);
  }
  return chunks;
}

/** Why trailers are refused, where there are any: nobody has signed them, and a proxy may merge them into the headers. */
export function trailersFault(request: NodeRequest): string | undefined {
  const { rawTrailers = [] } = request; // a request over no socket has none
  return rawTrailers.length > 0 ? 'The body is followed by trailers, which are not signed.' : undefined;
}

/** What is wrong with a body of that many bytes, where its request announces another number and no parser has counted. */
export function lengthFault(
  request: NodeRequest,
  headers: HeaderLines,
  lengthBytes: number,
): Fault | undefined {
  if (isFromParser(request)) return undefined;
  for (const text of headerLines(headers, 'content-length')) {
    if (!/^\d+$/.test(text)) return malformed('Content-Length is no number of bytes.');
    if (Number(text) > lengthBytes) return new Fault(BODY_CODES.body_incomplete);
    if (Number(text) < lengthBytes) return malformed('The body has more bytes than Content-Length says.');
  }
  return undefined;
}
