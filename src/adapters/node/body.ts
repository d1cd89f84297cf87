import { equalBytes, toUtf8 } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { malformed } from '../../core/errors/fault';
import { isCoded } from '../../core/wire/coding';
import { announcesBody, type HeaderLines, type ReadBody } from '../../core/wire/view';
import { isHeldBack } from './gate-body';
import { keptBytes } from './raw-body';
import { readAndPutBack } from './read-body';
import { isHttp2, type NodeRequest } from './request';
import { matchesDigest, textBytes } from './text-body';
import { framedBytes, isFromParser, isStream, lengthFault, mayLackLines, trailersFault } from './transport';

const USE_RAW = 'Put amesh.verify() before it, or use express.raw().';

/** How long to wait for the end of a stream that has no connection and announces no length, in milliseconds. */
const PATIENCE_MS = 10_000;

/**
 * Whether a body may follow. It uses the raw lines, like the parser, including those that Node hides from `headers`. If no parser
 * read these lines, or it may have dropped some, they prove nothing. Then the stream itself must show that it is empty.
 */
export function hasBody(request: NodeRequest, headers: HeaderLines): boolean {
  if (isHttp2(request)) return !request.stream.endAfterHeaders;
  return !isFromParser(request) || announcesBody(headers) || mayLackLines(request);
}

/**
 * Finds the bytes of a request's body: they are still arriving, or a parser has kept them. They are never rebuilt from a parsed
 * object.
 */
export function bodySource(request: NodeRequest, headers: HeaderLines): ReadBody {
  const read = bytesSource(request, headers);
  // Handlers would see no body, because no line that they see announces one.
  const isHidden = mayLackLines(request) && !announcesBody(headers);
  const check = (bytes: Uint8Array) => {
    const fault =
      isHidden && bytes.length > 0
        ? malformed('Too many header lines hide the length of the body.')
        : (trailersFault(request) ?? lengthFault(request, headers, bytes.length));
    if (fault !== undefined) throw new AmeshError(fault.facts, fault.detail);
    return bytes;
  };
  return (limitBytes) => read(limitBytes).then(check);
}

/** Whether the bytes are still arriving and nobody has them yet, so that a gate can be added. */
export function isUnread(request: NodeRequest): boolean {
  if (keptBytes(request) !== undefined || wasRead(request) || mayLackLines(request)) return false;
  return isFromParser(request) || (isNothing(request.body) && isNothing(request.rawBody));
}

function bytesSource(request: NodeRequest, headers: HeaderLines): ReadBody {
  const kept = keptBytes(request);
  if (kept !== undefined) return async () => unlessInflated(request, kept);
  if (!wasRead(request)) {
    if (isFromParser(request)) {
      const expected = { framedBytes: framedBytes(request, headers) };
      return (limitBytes) => readAndPutBack(request, limitBytes, expected);
    }
    return (limitBytes) => readStandIn(request, headers, limitBytes);
  }
  const isEmpty = !request.readableDidRead && request.readableEnded;
  if (isEmpty && isFromParser(request)) return async () => new Uint8Array();
  const { body, rawBody } = request;
  // An empty copy does not prove that the body was empty.
  if (rawBody instanceof Uint8Array && rawBody.length > 0) return () => unlessChanged(request, rawBody);
  if (body instanceof Uint8Array && body.length > 0) return async () => unlessInflated(request, body);
  // Without a stream and without any bytes, no handler gets a body.
  if ((isEmpty || !isStream(request)) && isNothing(body) && isNothing(rawBody))
    return async () => new Uint8Array();
  const text = isNothing(rawBody) ? body : rawBody;
  if (typeof text === 'string')
    return async () => textBytes(request.headers, unlessInflated(request, text), USE_RAW);
  return async () => {
    throw new AmeshError(
      SERVER_CODES.body_parser_ordering_error,
      'A parser before amesh.verify() read the body and kept no copy of the bytes.',
    );
  };
}

/**
 * Whether anybody has read the stream. A parser that found no bytes has read it; one that ignored it has not. Behind a gate, nobody
 * reads unverified bytes.
 */
function wasRead(request: NodeRequest): boolean {
  if (isHeldBack(request) !== undefined) return false;
  return (
    !isStream(request) ||
    request.readableDidRead ||
    request.readableEnded ||
    request.readableEncoding !== null
  );
}

/**
 * Reads the body of a request that an adapter built. Many adapters also set `request.body`, for handlers that do not read
 * streams: those must not get unverified bytes there.
 */
async function readStandIn(
  request: NodeRequest,
  headers: HeaderLines,
  limitBytes: number,
): Promise<Uint8Array> {
  const { body, rawBody } = request;
  const patienceMs = announcesBody(headers) ? undefined : PATIENCE_MS;
  const bytes = await readAndPutBack(request, limitBytes, { patienceMs });
  // serverless-express marks the stream as ended while a middleware waits. Parsers would then skip the bytes.
  (request as { readable: boolean }).readable = true;
  if (isMadeOf(body, bytes) && isMadeOf(rawBody, bytes)) return bytes;
  throw new AmeshError(
    SERVER_CODES.body_parser_ordering_error,
    'The adapter that built this request gave it a body that differs from its stream.',
    { fix: 'See docs/lambda.md for adapters that are known to work.' },
  );
}

function isMadeOf(body: unknown, bytes: Uint8Array): boolean {
  if (body instanceof Uint8Array) return body.length === 0 || equalBytes(body, bytes);
  if (typeof body === 'string') return body === '' || equalBytes(toUtf8(body), bytes);
  return isNothing(body) || bytes.length > 0;
}

/** Express 4 and others set an empty object if there is no body. */
function isNothing(body: unknown): boolean {
  if (body instanceof Uint8Array) return body.length === 0;
  if (typeof body === 'object' && body !== null)
    return Object.keys(body).length === 0 && !Array.isArray(body);
  return body === undefined || body === null || body === '';
}

/** Express's parsers decompress first, so the original bytes are gone. */
function unlessInflated<T>(request: NodeRequest, body: T): T {
  if (!isCoded(request.headers['content-encoding'])) return body;
  throw new AmeshError(
    SERVER_CODES.body_parser_ordering_error,
    'A parser before amesh.verify() decompressed the body.',
    { fix: 'Put amesh.verify() before the parser.' },
  );
}

/** Some parsers keep `rawBody` as sent, others decompress it first. The digest shows which. */
async function unlessChanged(request: NodeRequest, rawBody: Uint8Array): Promise<Uint8Array> {
  if (isCoded(request.headers['content-encoding']) && !(await matchesDigest(request.headers, rawBody)))
    return unlessInflated(request, rawBody);
  return rawBody;
}
