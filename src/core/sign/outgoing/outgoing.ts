import { gatherCalls } from '#gather';
import { untilAborted } from '../../abort';
import type { MaybePromise } from '../../crypto/provider';
import { hasSha256 } from '../../wire/digest';
import { isRequest, type RequestView } from '../../wire/view';
import { encodeBody, holdStream, toBodyStream } from './body';

/** An outgoing request: the arguments of `fetch`, copied once. */
export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  /** Without the signature headers. */
  readonly headers: Headers;
  /** The body; null if the request has none, or streams it. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  /** A body whose `Content-Digest` the caller supplied; it can be sent once. Meanwhile nobody else can read it. */
  readonly stream: ReadableStream<Uint8Array> | null;
  /** Lets the caller read that body again, if nothing of it was sent. */
  readonly release: () => void;
  readonly redirect: RequestRedirect;
  readonly signal: AbortSignal | null;
  /** All other options of `fetch`, including those of this runtime only. */
  readonly options: RequestInit;
  /** The caller's own `Request`, which may carry options that no property shows; null after a redirect. */
  readonly source: Request | null;
}

/** The methods that the Fetch standard converts to upper case. All others stay unchanged. */
const NORMALIZED = /^(?:delete|get|head|options|post|put)$/i;

/**
 * Copies the arguments of `fetch`. Later changes by the caller have no effect.
 *
 * @param limitBytes the most bytes of a stream to buffer
 * @param isOwnFetch whether the platform's own `fetch` sends the request
 * @throws TypeError where `fetch` would throw one; AmeshError `payload_too_large`
 */
export async function toOutgoing(
  input: string | URL | Request,
  init: RequestInit | null | undefined,
  limitBytes: number,
  isOwnFetch = true,
): Promise<Outgoing> {
  const from = isRequest(input) ? input : null;
  // Another fetch does not accept our Request class, nor ours another class: pass a URL and options instead.
  const isKept = isOwnFetch && !/\^/.test(from?.url ?? '') && from !== null && isOurs(from);
  const source = isKept ? from : null;
  let options = copyOptions(init ?? {});
  const url = readUrl(from === null ? String(input) : from.url);
  const method = normalizeMethod(options.method ?? from?.method ?? 'GET');
  const headers = toHeaders(options.headers === undefined ? from?.headers : options.headers);
  headers.delete('host'); // the URL decides; some runtimes ignore this header, and others send it
  const declared = headers.get('content-digest') ?? '';
  headers.delete('content-digest'); // ours is computed from the sent bytes
  // A gateway may forward the headers of a request that it received.
  headers.delete('authmesh-key');
  headers.delete('authmesh-rotation');
  const signal = (options.signal === undefined ? from?.signal : options.signal) ?? null;

  const given = options.body ?? null;
  const body = given ?? bodyOf(from);
  if (body !== null && (method === 'GET' || method === 'HEAD'))
    throw new TypeError(`A ${method} request must not have a body.`);
  const redirect = options.redirect ?? from?.redirect ?? 'follow';
  if (from !== source) options = { ...copyOptions(from as Request), ...options };
  const own = hasSha256(declared) ? toBodyStream(body) : null;
  if (own !== null) {
    headers.set('content-digest', declared);
    return { url, method, headers, bytes: null, ...holdStream(own), redirect, signal, options, source };
  }
  const encoding = gathered(encodeBody(body, limitBytes, signal));
  const { bytes, contentType } = await untilAborted(signal, encoding);
  // A Request already has its content type; for a body passed here, we set it.
  if (given !== null && contentType !== null && !headers.has('content-type'))
    headers.set('content-type', contentType);
  const release = () => {};
  return { url, method, headers, bytes, stream: null, release, redirect, signal, options, source };
}

/**
 * Waits here for other calls, which then sign their requests together. All that comes before has to happen during the call, and all
 * that comes afterwards would keep the event loop from other work if a thousand calls did it in one turn.
 */
async function gathered<T>(work: MaybePromise<T>): Promise<T> {
  const result = await work; // even if it is no promise: by now, all calls of this tick are counted
  await gatherCalls();
  return result;
}

/** Lets the caller read a stream again if its request fails before any of it was sent. */
export async function releasing<T>(
  request: { readonly release: () => void },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    request.release();
    throw error;
  }
}

/** Whether native code accepts it: a Proxy, or a class of another library, looks the same but lacks the internal state. */
function isOurs(request: Request): boolean {
  try {
    return Reflect.get(Request.prototype, 'method', request) === request.method;
  } catch {
    return false;
  }
}

/** Copies headers of any class. On some runtimes `Headers` treats another class as an empty object. */
function toHeaders(headers: HeadersInit | undefined): Headers {
  const isIterable = typeof headers === 'object' && headers !== null && Symbol.iterator in headers;
  return new Headers(isIterable ? [...(headers as Iterable<[string, string]>)] : headers);
}

/** The current values of all options, including inherited ones, since a `Request` may be passed as options. */
export function copyOptions(options: RequestInit | Request): RequestInit {
  const copy: Record<string, unknown> = Object.create(null);
  for (const name in options) copy[name] = (options as unknown as Record<string, unknown>)[name];
  delete copy.duplex; // only for streams, and we send bytes
  delete copy.answers; // an option of amesh, not of fetch
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
    throw new TypeError('Only http and https URLs can be signed.');
  if (url.username !== '' || url.password !== '')
    throw new TypeError('A URL must not contain a user name or password.');
  if (url.href.includes('#')) url.hash = ''; // the check saves time: setting it parses the URL once more
  return toSettledUrl(url);
}

/** The same spelling on every runtime: some escape a circumflex in a path, others send it unchanged. */
export function toSettledUrl(url: URL): URL {
  if (url.pathname.includes('^')) url.pathname = url.pathname.replaceAll('^', '%5E');
  return url;
}

function normalizeMethod(method: string): string {
  return NORMALIZED.test(method) ? method.toUpperCase() : String(method);
}

function bodyOf(source: Request | null): ReadableStream<Uint8Array> | null {
  // Otherwise a used body would pass as an empty one.
  if (source?.bodyUsed) throw new TypeError('The body of this Request was already read.');
  return source?.body ?? null;
}
