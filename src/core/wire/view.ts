import type { MaybePromise } from '../crypto/provider';
import { AmeshError } from '../errors/amesh-error';
import { BODY_CODES, SERVER_CODES } from '../errors/codes';
import { type BodyGate, gateStream } from './body-gate';
import { takesBody } from './fresh-request';

/**
 * Header lines by lower-case name, as they came from the transport. A string is one line; an array holds a line
 * each, so that duplicates stay visible.
 */
export type HeaderLines = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Reads a request's body.
 *
 * @param limitBytes the most that may be buffered
 * @throws AmeshError `payload_too_large` beyond the limit, `body_incomplete` where the client went away,
 *   `body_parser_ordering_error` where somebody else has read the bytes and not kept them
 */
export type ReadBody = (limitBytes: number) => Promise<Uint8Array>;

/**
 * A request as the core works on it: raw strings from the transport, taken once. The same values serve the host
 * check, the signature base and whatever routes the request.
 *
 * @see docs/protocol.md, "The request view"
 */
export interface RequestView {
  /** As sent; method names are case-sensitive. */
  readonly method: string;
  /** The request target in origin form: path and query exactly as sent, such as `/a%2Fb?x=1`. */
  readonly target: string;
  /** The Host header's value, or HTTP/2's `:authority`. */
  readonly authority: string;
  /** All of them, before anything was joined or decoded. */
  readonly headers: HeaderLines;
  /** The bytes, a function that reads them, or nothing for a request without a body. */
  readonly body?: Uint8Array | ReadBody | null | undefined;
  /**
   * Puts a gate between the client and whoever reads the body, for `streamUnverifiedBody`; without it bodies are
   * buffered. Where the body has come already, it rejects with what the gate says.
   *
   * @returns the stream that is to be read from now on; null where that is still the transport's own
   */
  readonly gateBody?: ((gate: BodyGate) => MaybePromise<ReadableStream<Uint8Array> | null>) | undefined;
  /**
   * The port on which this server took the connection, where known. Without configured hosts a loopback name
   * counts only with this port, so that two servers of one machine do not accept each other's requests. Without a port it
   * does not count.
   */
  readonly localPort?: number | undefined;
  /**
   * Whether the runtime shows an apostrophe of a query as `%27`, as Bun does. Which of the two was sent nobody can tell there,
   * and no handler sees a difference: a signature of either counts.
   */
  readonly hidesApostrophe?: boolean | undefined;
  /**
   * The request that this view was made of. What was claimed and read for it counts for every other view of it, so a view can be
   * made anew for each verifier. Left out, the view stands for itself.
   */
  readonly source?: object | undefined;
  /** The path and query by which handlers are chosen, where that is not the target: some part of the server has rewritten it. */
  readonly routed?: string | undefined;
  /** What the transport has in another way than handlers see it, such as `method`; the request is refused. */
  readonly conflict?: string | undefined;
}

/** What a view was made of, or the view itself. */
export function sourceOf(view: RequestView): object {
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
 * A field's value as the signature base has it: each line without outer white space, joined by a comma and a space.
 * `undefined` where the request has no such field.
 *
 * @see RFC 9421 section 2.1
 */
export function fieldValue(headers: HeaderLines, name: string): string | undefined {
  if (!Object.hasOwn(headers, name)) return undefined;
  const value = headers[name];
  if (value === undefined) return undefined;
  if (typeof value === 'string') return trimField(value);
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

/** Whether a header stands there in more than one line. */
export function isRepeated(headers: HeaderLines, name: string): boolean {
  return headerLines(headers, name).length > 1;
}

/** Whether something is a `Request`, of whatever class, library or realm. */
export function isRequest(value: unknown): value is Request {
  const { url, headers } = Object(value) as Partial<Request>;
  return typeof url === 'string' && typeof headers?.get === 'function';
}

/**
 * A WHATWG request as a view. The body is read from a clone, so that the request itself stays as it is, with whatever a
 * framework has put on it, and with its body to be read.
 *
 * Line and authority are cut out of `url` as they stand there: some servers give it as it was sent, and routers go by
 * this text. Parsing it would make another one of it. A fragment stays in the target, which no verifier takes: some
 * servers let one through, and frameworks find a query in it.
 */
export function toRequestView(request: Request): RequestView {
  const [, authority = '', target = ''] = URL_PARTS.exec(request.url) ?? [];
  const headers: Record<string, string> = Object.create(null);
  for (const [name, value] of request.headers) headers[name] = value;
  const { body } = request;
  return {
    method: request.method,
    target,
    authority,
    headers,
    body: body === null ? null : (limit) => readStream(request, limit),
    gateBody: body === null || !mayStream(request) ? undefined : (gate) => gateStream(body, gate),
    source: request,
    hidesApostrophe: 'Bun' in globalThis,
  };
}

/** The target of a `Request`, as its URL has it. */
export function targetOf(url: string): string {
  return URL_PARTS.exec(url)?.[2] ?? '';
}

const URL_PARTS = /^[a-z][a-z+.-]*:\/\/([^/?#]*)(.*)/is;

function mayStream({ bodyUsed, method }: Request): boolean {
  return !bodyUsed && takesBody(method);
}

async function readStream(request: Request, limitBytes: number): Promise<Uint8Array> {
  if (request.bodyUsed || request.body?.locked)
    throw new AmeshError(
      SERVER_CODES.body_parser_ordering_error,
      'The body of this request was read already.',
    );
  try {
    return await collect(request.clone().body as ReadableStream<Uint8Array>, limitBytes);
  } catch (error) {
    void request.body?.cancel().catch(() => {}); // both have to let go of it
    throw error;
  }
}

/**
 * Reads a byte stream to its end, but never more than a limit; beyond that it is cancelled.
 *
 * @throws AmeshError `payload_too_large`; TypeError where a chunk is not bytes; whatever the stream itself fails with
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
      void reader.cancel().catch(() => {}); // waits for every reader of the same
      throw new TypeError('A body stream gives Uint8Array chunks.');
    }
    length += value.length;
    if (length > limitBytes) {
      void reader.cancel().catch(() => {});
      throw new AmeshError(BODY_CODES.payload_too_large, `The body is larger than ${limitBytes} bytes.`);
    }
    chunks.push(value);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}
