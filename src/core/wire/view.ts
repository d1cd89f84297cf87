import type { MaybePromise } from '../crypto/provider';
import { joinBytes } from '../encoding';
import { AmeshError } from '../errors/amesh-error';
import { BODY_CODES, SERVER_CODES } from '../errors/codes';
import { type BodyGate, gateStream } from './body-gate';
import { takesBody } from './fresh-request';

/**
 * Header lines by lower-case name, as the transport delivered them. A string is one line. An array has one line per entry,
 * so that duplicates stay visible.
 */
export type HeaderLines = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Reads a request's body.
 *
 * @param limitBytes the most bytes to buffer
 * @throws AmeshError `payload_too_large` beyond the limit, `body_incomplete` if the client disconnected,
 *   `body_parser_ordering_error` if another reader consumed the bytes and kept no copy
 */
export type ReadBody = (limitBytes: number) => Promise<Uint8Array>;

/**
 * A request as the core sees it: raw strings from the transport, read once. The host check, the signature base and the
 * routing all use the same values.
 *
 * @see docs/protocol.md, "The request view"
 */
export interface RequestView {
  /** As sent; method names are case-sensitive. */
  readonly method: string;
  /** The request target in origin form: path and query exactly as sent, such as `/a%2Fb?x=1`. */
  readonly target: string;
  /** The value of the Host header, or of `:authority` in HTTP/2. */
  readonly authority: string;
  /** All headers, before anything joins or decodes them. */
  readonly headers: HeaderLines;
  /** The bytes, a function that reads them, or nothing if the request has no body. */
  readonly body?: Uint8Array | ReadBody | null | undefined;
  /**
   * Puts a gate between the client and the reader of the body, for `streamUnverifiedBody`; without it bodies are buffered.
   * If the body has already arrived, it rejects with the gate's error.
   *
   * @returns the stream to read instead; null if that is still the transport's own
   */
  readonly gateBody?: ((gate: BodyGate) => MaybePromise<ReadableStream<Uint8Array> | null>) | undefined;
  /**
   * The port on which this server accepted the connection, if known. Without configured hosts, a loopback name is accepted
   * only with this port, so that two servers on one machine do not accept each other's requests. Without it no loopback
   * name is accepted.
   */
  readonly localPort?: number | undefined;
  /**
   * Whether the runtime shows an apostrophe in a query as `%27`, as Bun does. There nobody can tell which of the two was
   * sent, and handlers see no difference, so a signature of either is accepted.
   */
  readonly hidesApostrophe?: boolean | undefined;
  /**
   * The request from which this view was made. All views of one source share its claim and its body, so each verifier can
   * make its own view. Default: the view itself.
   */
  readonly source?: object | undefined;
  /** The path and query that choose the handler, if part of the server rewrote the target. */
  readonly routed?: string | undefined;
  /** The part of the request that handlers see differently than the transport, such as `method`; the request is then refused. */
  readonly conflict?: string | undefined;
}

/** The source of a view, or the view itself. */
export function sourceOf(view: RequestView | { readonly source: object }): object {
  return view.source ?? view;
}

const NO_LINES: readonly string[] = Object.freeze([]);

/** The lines of a header; `name` is lower case. */
export function headerLines(headers: HeaderLines, name: string): readonly string[] {
  if (!Object.hasOwn(headers, name)) return NO_LINES;
  const value = headers[name];
  if (value === undefined) return NO_LINES;
  return typeof value === 'string' ? [value] : value;
}

/**
 * A field's value as in the signature base: each line without surrounding white space, joined by a comma and a space.
 * `undefined` if the request has no such field.
 *
 * @see RFC 9421 section 2.1
 */
export function fieldValue(headers: HeaderLines, name: string): string | undefined {
  if (!Object.hasOwn(headers, name)) return undefined;
  const value = headers[name];
  if (value === undefined) return undefined;
  if (typeof value === 'string') return trimField(value);
  if (value.length === 1) return trimField(value[0] as string); // the usual case, without new arrays
  return value.length === 0 ? undefined : value.map(trimField).join(', ');
}

function trimField(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return start === 0 && end === value.length ? value : value.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Whether a header has more than one line. */
export function isRepeated(headers: HeaderLines, name: string): boolean {
  return headerLines(headers, name).length > 1;
}

/** Whether a value is a `Request` of any class, library or realm. */
export function isRequest(value: unknown): value is Request {
  const { url, headers } = Object(value) as Partial<Request>;
  return typeof url === 'string' && typeof headers?.get === 'function';
}

/**
 * A view of a WHATWG request. The body is read from a clone, so the request stays unchanged, with its body and with the
 * properties that a framework added.
 *
 * Target and authority are taken literally from `url`: some servers pass it on as sent, and routers use this text. Parsing
 * would change it. A fragment stays in the target, which verifiers refuse: some servers let one through, and frameworks
 * find a query in it.
 *
 * The body is looked at only when it is needed: on Node, some servers make a stream of it then, and no longer discard what a
 * refused client still sends.
 */
export function toRequestView(request: Request): RequestView {
  const [, authority = '', target = ''] = URL_PARTS.exec(request.url) ?? [];
  const headers: Record<string, string> = Object.create(null);
  for (const [name, value] of request.headers) headers[name] = value;
  const mayHaveBody = announcesBody(headers) || request.body !== null;
  return {
    method: request.method,
    target,
    // Next.js makes up the host of the URL, and routes by the Host header.
    authority: ('nextUrl' in request && headers.host) || authority,
    headers,
    body: mayHaveBody
      ? async (limit) => (request.body === null ? new Uint8Array() : readStream(request, limit))
      : null,
    gateBody: mayHaveBody && mayStream(request) ? (gate) => gateRequest(request, gate) : undefined,
    source: request,
    hidesApostrophe: 'Bun' in globalThis,
  };
}

/** The target in the URL of a `Request`, unchanged. */
export function targetOf(url: string): string {
  return URL_PARTS.exec(url)?.[2] ?? '';
}

const URL_PARTS = /^[a-z][a-z+.-]*:\/\/([^/?#]*)(.*)/is;

/** Whether a request over HTTP/1 says that a body follows. Over HTTP/2, one may follow anyway. */
export function announcesBody(headers: HeaderLines): boolean {
  return (
    headers['transfer-encoding'] !== undefined ||
    headerLines(headers, 'content-length').some((text) => text !== '0')
  );
}

function gateRequest({ body }: Request, gate: BodyGate): MaybePromise<ReadableStream<Uint8Array> | null> {
  if (body === null) throw new AmeshError(BODY_CODES.body_incomplete); // no body came, although the headers announced one
  return gateStream(body, gate);
}

function mayStream({ bodyUsed, method }: Request): boolean {
  return !bodyUsed && takesBody(method);
}

async function readStream(request: Request, limitBytes: number): Promise<Uint8Array> {
  if (request.bodyUsed || request.body?.locked)
    throw new AmeshError(
      SERVER_CODES.body_parser_ordering_error,
      'The body of this request was already read.',
    );
  try {
    return await collect(request.clone().body as ReadableStream<Uint8Array>, limitBytes);
  } catch (error) {
    void request.body?.cancel().catch(() => {}); // the stream ends only when both copies are cancelled
    throw error;
  }
}

/**
 * Reads a byte stream to its end. Beyond the limit it cancels the stream.
 *
 * @throws AmeshError `payload_too_large`; TypeError if a chunk is not bytes; any error of the stream
 */
export async function collect(
  stream: ReadableStream<Uint8Array>,
  limitBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if ((value as Uint8Array | undefined)?.BYTES_PER_ELEMENT !== 1) {
      void reader.cancel().catch(() => {}); // not awaited: it waits for all readers of a cloned stream
      throw new TypeError('A body stream must have Uint8Array chunks.');
    }
    length += value.length;
    if (length > limitBytes) {
      void reader.cancel().catch(() => {});
      throw new AmeshError(BODY_CODES.payload_too_large, `The body is larger than ${limitBytes} bytes.`);
    }
    chunks.push(value);
  }
  return joinBytes(chunks);
}
