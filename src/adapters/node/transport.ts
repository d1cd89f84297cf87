import { BODY_CODES } from '../../core/errors/codes';
import { Fault, malformed } from '../../core/errors/fault';
import { type HeaderLines, headerLines } from '../../core/wire/view';
import { isHttp2, type NodeRequest } from './request';

/**
 * Whether the last byte has arrived over the connection, read or not. HTTP/2 requests never set `complete`; their stream
 * ends instead.
 */
export function hasArrived(request: NodeRequest): boolean {
  if (isHttp2(request)) return request.stream.readableEnded && !isGone(request);
  return request.complete;
}

/**
 * Whether Node's own parser made this request from a connection. Only then do its headers tell whether a body follows, and
 * only then is `complete` meaningful: objects that imitate a request set both arbitrarily.
 *
 * It is also false for a complete request if the connection already serves the next one.
 */
export function isFromParser(request: NodeRequest): boolean {
  if (isHttp2(request)) return true;
  const { socket } = request as { socket?: { parser?: { incoming?: unknown } | null } };
  return socket?.parser?.incoming === request;
}

/**
 * Whether Node's parser may have left header lines out of `rawHeaders`. It keeps a thousand lines or `maxHeadersCount`, and drops
 * later lines, but it uses all lines to find the body.
 */
export function mayLackLines(request: NodeRequest): boolean {
  if (isHttp2(request) || !isFromParser(request)) return false;
  const { maxHeaderPairs } = (request.socket as unknown as { parser: { maxHeaderPairs?: unknown } }).parser;
  // Node counts names and values separately.
  const most = typeof maxHeaderPairs === 'number' ? maxHeaderPairs : 2000;
  return most > 0 && request.rawHeaders.length >= most;
}

/**
 * The bytes after which Node's parser ends the body of a request over HTTP/1. Undefined if the body has another end, or the lines
 * do not agree. It uses the lines that arrived: middleware may have changed `headers`.
 */
export function framedBytes(request: NodeRequest, headers: HeaderLines): number | undefined {
  if (isHttp2(request) || headers['transfer-encoding'] !== undefined) return undefined;
  const [text = '', ...others] = headerLines(headers, 'content-length');
  return others.length === 0 && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Whether the request is a stream. Some imitations are not, and provide the body in another way. */
export function isStream(request: NodeRequest): boolean {
  return isHttp2(request) || (stateOf(request) !== undefined && typeof request.read === 'function');
}

/** Whether readers know, or will learn next, that no more bytes follow. */
export function isAtEnd(request: NodeRequest): boolean {
  return isHttp2(request) ? hasArrived(request) : stateOf(request)?.ended === true;
}

/** Node has no public property for a stream that has received its end but not emitted it yet. */
function stateOf(request: NodeRequest): { readonly ended?: boolean } | undefined {
  return (request as { _readableState?: { readonly ended?: boolean } })._readableState;
}

/** Whether the client has disconnected. HTTP/2 streams then end as if everything had arrived. */
export function isGone(request: NodeRequest): boolean {
  return isHttp2(request) ? request.stream.aborted || request.stream.destroyed : request.destroyed;
}

/** Takes the buffered chunks from a request's stream, which stays usable. */
export function takeBuffered(request: NodeRequest): Buffer[] {
  const chunks: Buffer[] = [];
  // Reading an empty stream would end it, and a later parser would wait for ever.
  while (request.readableLength > 0) {
    const chunk: Buffer | null = request.read();
    if (chunk === null) break;
    chunks.push(chunk);
  }
  return chunks;
}

/** The fault of a body with trailers: they are not signed, and a proxy may merge them into the headers. */
export function trailersFault(request: NodeRequest): Fault | undefined {
  const { rawTrailers = [] } = request; // a request without a socket has none
  return rawTrailers.length > 0
    ? malformed('The body is followed by trailers, which are not signed.')
    : undefined;
}

/** The fault of a body whose length differs from Content-Length, if no parser has checked it. */
export function lengthFault(
  request: NodeRequest,
  headers: HeaderLines,
  lengthBytes: number,
): Fault | undefined {
  if (isFromParser(request)) return undefined;
  for (const text of headerLines(headers, 'content-length')) {
    if (!/^\d+$/.test(text)) return malformed('Content-Length is not a number of bytes.');
    if (Number(text) > lengthBytes) return new Fault(BODY_CODES.body_incomplete);
    if (Number(text) < lengthBytes) return malformed('The body has more bytes than Content-Length says.');
  }
  return undefined;
}

/** How long a refusal waits for the rest of a body, and how many bytes of it are discarded. */
export const LINGER_MS = 1000;
export const LINGER_BYTES = 16_777_216;

/** Discards the rest of a body, within these limits, then calls `done`. */
export function discardRest(request: NodeRequest, done: () => void): void {
  let discarded = 0;
  const discard = (chunk: Buffer) => {
    discarded += chunk.length;
    if (discarded > LINGER_BYTES) finish();
  };
  const finish = () => {
    clearTimeout(timer);
    request.off('data', discard).off('end', finish).off('close', finish);
    done();
  };
  const timer = setTimeout(finish, LINGER_MS);
  request.on('data', discard).on('end', finish).on('close', finish);
}
