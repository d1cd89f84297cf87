import { equalBytes, toUtf8 } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { REQUEST_CODES, SERVER_CODES } from '../../core/errors/codes';
import { type HeaderLines, headerLines, type ReadBody } from '../../core/wire/view';
import { isGated } from './gate-body';
import { keptBytes } from './raw-body';
import { readAndPutBack } from './read-body';
import { isHttp2, type NodeRequest } from './request';
import { matches, textBytes } from './text-body';
import { isFromParser, isStream, lengthFault, trailersFault } from './transport';

const USE_RAW = 'Put amesh.verify() before it, or use express.raw().';

/** How long the end of a stream is waited for that has no connection to wait for, and announces nothing. */
const PATIENCE_MS = 10_000;

/**
 * Whether a body may follow. By the raw lines: the parser goes by them, also by those that Node hides from `headers`.
 * Where no parser has gone by them they prove nothing, and the stream has to show that it is empty.
 */
export function hasBody(request: NodeRequest, headers: HeaderLines): boolean {
  if (isHttp2(request)) return !request.stream.endAfterHeaders;
  return !isFromParser(request) || isAnnounced(headers);
}

function isAnnounced(headers: HeaderLines): boolean {
  return (
    headers['transfer-encoding'] !== undefined ||
    headerLines(headers, 'content-length').some((text) => text !== '0')
  );
}

/**
 * Where the bytes of a request's body are: still on their way, or with the parser that has read them. Bytes are
 * never rebuilt from a parsed object.
 */
export function bodySource(request: NodeRequest, headers: HeaderLines): ReadBody {
  const read = bytesSource(request, headers);
  return async (limitBytes) => {
    const bytes = await read(limitBytes);
    const trailers = trailersFault(request);
    if (trailers !== undefined) throw new AmeshError(REQUEST_CODES.malformed_header, trailers);
    const fault = lengthFault(request, headers, bytes.length);
    if (fault !== undefined) throw new AmeshError(fault.facts, fault.detail);
    return bytes;
  };
}

/** Whether the bytes are still on their way, and nowhere else, so that a gate can be put in it. */
export function isUnread(request: NodeRequest): boolean {
  if (keptBytes(request) !== undefined || wasRead(request)) return false;
  return isFromParser(request) || (isNothing(request.body) && isNothing(request.rawBody));
}

function bytesSource(request: NodeRequest, headers: HeaderLines): ReadBody {
  const kept = keptBytes(request);
  if (kept !== undefined) return async () => unlessInflated(request, kept);
  if (!wasRead(request)) {
    if (isFromParser(request)) return (limitBytes) => readAndPutBack(request, limitBytes);
    return (limitBytes) => readStandIn(request, headers, limitBytes);
  }
  const isEmpty = !request.readableDidRead && request.readableEnded;
  if (isEmpty && isFromParser(request)) return async () => new Uint8Array();
  const { body, rawBody } = request;
  // None of the bytes that somebody has read is no proof that there were none.
  if (rawBody instanceof Uint8Array && rawBody.length > 0) return () => unlessChanged(request, rawBody);
  if (body instanceof Uint8Array && body.length > 0) return async () => unlessInflated(request, body);
  // What is no stream, or an empty one, and has nothing else, gives nothing to anybody.
  if ((isEmpty || !isStream(request)) && isNothing(body) && isNothing(rawBody))
    return async () => new Uint8Array();
  const text = isNothing(rawBody) ? body : rawBody;
  if (typeof text === 'string')
    return async () => textBytes(request.headers, unlessInflated(request, text), USE_RAW);
  return async () => {
    throw new AmeshError(
      SERVER_CODES.body_parser_ordering_error,
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
  return (
    !isStream(request) ||
    request.readableDidRead ||
    request.readableEnded ||
    request.readableEncoding !== null
  );
}

/**
 * The bytes of a request that an adapter has made. Many put the body on `request.body` besides, for handlers that know
 * of no stream: they must not get there what nobody has verified.
 */
async function readStandIn(
  request: NodeRequest,
  headers: HeaderLines,
  limitBytes: number,
): Promise<Uint8Array> {
  const { body, rawBody } = request;
  const bytes = await readAndPutBack(request, limitBytes, isAnnounced(headers) ? undefined : PATIENCE_MS);
  // serverless-express calls it over as soon as a middleware has to wait, and parsers would go past the bytes.
  (request as { readable: boolean }).readable = true;
  if (isMadeOf(body, bytes) && isMadeOf(rawBody, bytes)) return bytes;
  throw new AmeshError(
    SERVER_CODES.body_parser_ordering_error,
    'The adapter that made this request gives it another body than its stream has.',
    { fix: 'See docs/lambda.md for adapters that are known to work.' },
  );
}

function isMadeOf(body: unknown, bytes: Uint8Array): boolean {
  if (body instanceof Uint8Array) return body.length === 0 || equalBytes(body, bytes);
  if (typeof body === 'string') return body === '' || equalBytes(toUtf8(body), bytes);
  return isNothing(body) || bytes.length > 0;
}

/** Express 4 and others leave an empty object where there is no body. */
function isNothing(body: unknown): boolean {
  if (body instanceof Uint8Array) return body.length === 0;
  if (typeof body === 'object' && body !== null)
    return Object.keys(body).length === 0 && !Array.isArray(body);
  return body === undefined || body === null || body === '';
}

/** Express's parsers inflate before they hand over: the bytes that were sent are gone. */
function unlessInflated<T>(request: NodeRequest, body: T): T {
  if (!isEncoded(request)) return body;
  throw new AmeshError(
    SERVER_CODES.body_parser_ordering_error,
    'A parser before amesh.verify() has inflated the body.',
    { fix: 'Put amesh.verify() before the parser.' },
  );
}

/** Some keep `rawBody` as it was sent, others inflate it before: the digest tells. */
async function unlessChanged(request: NodeRequest, rawBody: Uint8Array): Promise<Uint8Array> {
  if (isEncoded(request) && !(await matches(request.headers, rawBody)))
    return unlessInflated(request, rawBody);
  return rawBody;
}

function isEncoded(request: NodeRequest): boolean {
  const encoding = request.headers['content-encoding'];
  return encoding !== undefined && encoding.toLowerCase() !== 'identity';
}
