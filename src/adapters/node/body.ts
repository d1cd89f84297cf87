import { AmeshError } from '../../core/errors';
import { type HeaderLines, headerLines, type ReadBody } from '../../core/view';
import { isGated } from './gate-body';
import { keptBytes } from './raw-body';
import { readAndPutBack } from './read-body';
import { isHttp2, type NodeRequest } from './request';
import { textBytes } from './text-body';
import { trailersFault } from './transport';

/**
 * Whether a body may follow. By the raw lines: the parser goes by them, also by those that Node hides from `headers`.
 */
export function hasBody(request: NodeRequest, headers: HeaderLines): boolean {
  if (isHttp2(request)) return !request.stream.endAfterHeaders;
  return (
    headers['transfer-encoding'] !== undefined ||
    headerLines(headers, 'content-length').some((text) => text !== '0')
  );
}

/**
 * Where the bytes of a request's body are: still on their way, or with the parser that has read them. Bytes are
 * never rebuilt from a parsed object.
 */
export function bodySource(request: NodeRequest): ReadBody {
  const read = bytesSource(request);
  return async (limitBytes) => {
    const bytes = await read(limitBytes);
    const trailers = trailersFault(request);
    if (trailers !== undefined) throw new AmeshError('malformed_header', trailers);
    return bytes;
  };
}

/** Whether the bytes are still on their way, so that a gate can be put in it. */
export function isUnread(request: NodeRequest): boolean {
  return keptBytes(request) === undefined && !wasRead(request);
}

function bytesSource(request: NodeRequest): ReadBody {
  const kept = keptBytes(request);
  if (kept !== undefined) return async () => unlessInflated(request, kept);
  if (!wasRead(request)) return (limitBytes) => readAndPutBack(request, limitBytes);
  if (!request.readableDidRead && request.readableEnded) return async () => new Uint8Array();
  const { body } = request;
  if (body instanceof Uint8Array) return async () => unlessInflated(request, body);
  if (typeof body === 'string') {
    const fix = 'Put amesh.verify() before it, or use express.raw().';
    return async () => textBytes(request.headers, unlessInflated(request, body), fix);
  }
  return async () => {
    throw new AmeshError(
      'body_parser_ordering_error',
      'A parser before amesh.verify() has read the body and kept no bytes of it.',
    );
  };
}

/**
 * Whether anybody has read the stream. A parser that left it alone has not; one that found no byte in it has. Behind a gate nobody
 * reads what is not verified.
 */
function wasRead(request: NodeRequest): boolean {
  if (isGated(request)) return false;
  return request.readableDidRead || request.readableEnded || request.readableEncoding !== null;
}

/** Express's parsers inflate before they hand over: the bytes that were sent are gone. */
function unlessInflated<T>(request: NodeRequest, body: T): T {
  const encoding = request.headers['content-encoding'];
  if (encoding === undefined || encoding.toLowerCase() === 'identity') return body;
  throw new AmeshError(
    'body_parser_ordering_error',
    'A parser before amesh.verify() has inflated the body.',
    { fix: 'Put amesh.verify() before the parser.' },
  );
}
