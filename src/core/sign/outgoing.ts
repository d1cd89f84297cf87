import { hasSha256 } from '../wire/digest';
import { isRequest, type RequestView } from '../wire/view';
import { untilAborted } from './abort';
import { encodeBody, toBodyStream } from './body';

/** A request on its way: what `fetch` was given, taken once. */
export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  /** Without those of the signature. */
  readonly headers: Headers;
  /** The body; null where the request has none, or is to be streamed. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  /** The body of a request whose `Content-Digest` the caller knows: it can be sent once. */
  readonly stream: ReadableStream<Uint8Array> | null;
  readonly redirect: RequestRedirect;
  readonly signal: AbortSignal | null;
  /** Every other option of `fetch`, also those that only this runtime has. */
  readonly options: RequestInit;
  /** The caller's own `Request`, for what it carries that no property shows; null once the URL is another. */
  readonly source: Request | null;
}

/** The methods that the Fetch standard writes in upper case; all others stay as they are. */
const NORMALIZED = /^(?:delete|get|head|options|post|put)$/i;

/**
 * Takes over the arguments of `fetch`. Whatever the caller changes after the call changes nothing here.
 *
 * @param limitBytes the most that is buffered of a stream
 * @param isOwnFetch whether the platform's own `fetch` sends it
 * @throws TypeError where `fetch` would throw one; AmeshError `payload_too_large`
 */
export async function toOutgoing(
  input: string | URL | Request,
  init: RequestInit | null | undefined,
  limitBytes: number,
  isOwnFetch = true,
): Promise<Outgoing> {
  const from = isRequest(input) ? input : null;
  // Another fetch knows no Request of ours, and ours none of another class: either takes a URL and options.
  const isKept = isOwnFetch && !/\^/.test(from?.url ?? '') && from !== null && isOurs(from);
  const source = isKept ? from : null;
  let options = copyOptions(init ?? {});
  const url = readUrl(from === null ? String(input) : from.url);
  const method = normalizeMethod(options.method ?? from?.method ?? 'GET');
  const headers = toHeaders(options.headers === undefined ? from?.headers : options.headers);
  headers.delete('host'); // ignored by some runtimes and sent by others; the URL says it
  const declared = headers.get('content-digest') ?? '';
  headers.delete('content-digest'); // ours is of the bytes that are sent
  const signal = (options.signal === undefined ? from?.signal : options.signal) ?? null;

  const given = options.body ?? null;
  const body = given ?? bodyOf(from);
  if (body !== null && (method === 'GET' || method === 'HEAD'))
    throw new TypeError(`A ${method} request has no body.`);
  const redirect = options.redirect ?? from?.redirect ?? 'follow';
  if (from !== source) options = { ...copyOptions(from as Request), ...options };
  const stream = hasSha256(declared) ? toBodyStream(body) : null;
  if (stream !== null) {
    headers.set('content-digest', declared);
    return { url, method, headers, bytes: null, stream, redirect, signal, options, source };
  }
  const { bytes, contentType } = await untilAborted(signal, encodeBody(body, limitBytes, signal));
  // A Request has named its content-type itself; for a body given here it is ours to name.
  if (given !== null && contentType !== null && !headers.has('content-type'))
    headers.set('content-type', contentType);
  return { url, method, headers, bytes, stream, redirect, signal, options, source };
}

/** Whether native code takes it: a Proxy and a class of another library look the same, and have no state of ours. */
function isOurs(request: Request): boolean {
  try {
    return Reflect.get(Request.prototype, 'method', request) === request.method;
  } catch {
    return false;
  }
}

/** Of headers of any class, which `Headers` of some runtimes takes for an object without members. */
function toHeaders(headers: HeadersInit | undefined): Headers {
  const isIterable = typeof headers === 'object' && headers !== null && Symbol.iterator in headers;
  return new Headers(isIterable ? [...(headers as Iterable<[string, string]>)] : headers);
}

/** The options of a request by their values now, inherited ones too, since a `Request` can stand for options. */
export function copyOptions(options: RequestInit | Request): RequestInit {
  const copy: Record<string, unknown> = Object.create(null);
  for (const name in options) copy[name] = (options as unknown as Record<string, unknown>)[name];
  delete copy.duplex; // says how a stream is sent, and what is sent are bytes
  return copy;
}

export function toView({ url, method, headers }: Outgoing): RequestView {
  const record: Record<string, string> = Object.create(null);
  for (const [name, value] of headers) record[name] = value;
  return { method, target: url.pathname + url.search, authority: url.host, headers: record };
}

function readUrl(text: string): URL {
  const url = new URL(text, globalThis.location?.href);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new TypeError('Only requests to http and https URLs are signed.');
  if (url.username !== '' || url.password !== '')
    throw new TypeError('A URL with a user name or password in it is not fetched.');
  url.hash = '';
  return toSettledUrl(url);
}

/** As every runtime writes it: some escape a circumflex in a path, and others send and show it as it is. */
export function toSettledUrl(url: URL): URL {
  if (url.pathname.includes('^')) url.pathname = url.pathname.replaceAll('^', '%5E');
  return url;
}

function normalizeMethod(method: string): string {
  return NORMALIZED.test(method) ? method.toUpperCase() : String(method);
}

function bodyOf(source: Request | null): ReadableStream<Uint8Array> | null {
  // Read again it would be taken for a body of no bytes.
  if (source?.bodyUsed) throw new TypeError('The body of this Request was read already.');
  return source?.body ?? null;
}
