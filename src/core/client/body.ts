import { AmeshError, isAmeshError } from '../errors';
import { collect } from '../view';
import { newBoundary, toMultipart } from './multipart';

/** A body as bytes, and the content-type that `fetch` gives a body of this kind. */
export interface EncodedBody {
  /** null where the request has no body at all. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  /** null where `fetch` would send none. */
  readonly contentType: string | null;
}

/**
 * Turns any body that `fetch` takes into bytes, once, so that what is hashed is what is sent. The content-type is
 * the one of the Fetch standard on every runtime; some leave it out for strings. Bytes are copied before this returns.
 *
 * @param limitBytes the most that is buffered of a stream
 * @param signal ends the reading of a stream
 * @throws AmeshError `payload_too_large` for a stream beyond the limit; TypeError for a stream of something else
 *   than bytes, or one that was read before
 */
export async function encodeBody(
  body: BodyInit | null | undefined,
  limitBytes: number,
  signal: AbortSignal | null,
): Promise<EncodedBody> {
  if (body === null || body === undefined) return { bytes: null, contentType: null };
  if (typeof body !== 'object') return { bytes: utf8(String(body)), contentType: 'text/plain;charset=UTF-8' };
  if (body instanceof URLSearchParams) {
    return { bytes: utf8(body.toString()), contentType: 'application/x-www-form-urlencoded;charset=UTF-8' };
  }
  if (body instanceof ArrayBuffer) return { bytes: new Uint8Array(body.slice(0)), contentType: null };
  if (ArrayBuffer.isView(body)) {
    const view = new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
    return { bytes: new Uint8Array(view), contentType: null };
  }
  const stream = toBodyStream(body);
  if (stream !== null) return { bytes: await buffer(stream, limitBytes, signal), contentType: null };
  if (body instanceof FormData) {
    const boundary = newBoundary();
    const bytes = await toMultipart(body, boundary).arrayBuffer();
    return { bytes: new Uint8Array(bytes), contentType: `multipart/form-data; boundary=${boundary}` };
  }
  // A Blob, or what only the runtime knows. Bun forgets the type once the bytes are read.
  const response = new Response(body);
  const contentType = response.headers.get('content-type');
  return { bytes: new Uint8Array(await response.arrayBuffer()), contentType };
}

/**
 * A body that comes as a stream, as one that can be sent; null for any other. What is gone out of it would be missing in
 * what is signed, and nobody would notice.
 *
 * @throws TypeError for one that was read before, or is being read
 */
export function toBodyStream(body: BodyInit | null): ReadableStream<Uint8Array> | null {
  if (body instanceof ReadableStream) return new Response(body).body; // which looks at that
  return typeof body === 'object' && body !== null && isAsyncIterable(body) ? toStream(body) : null;
}

async function buffer(
  stream: ReadableStream<Uint8Array>,
  limitBytes: number,
  signal: AbortSignal | null,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await collect(endedBy(stream, signal), limitBytes);
  } catch (error) {
    if (!isAmeshError(error) || error.code !== 'payload_too_large') throw error;
    throw new AmeshError(
      'payload_too_large',
      `The body is a stream of more than ${limitBytes} bytes, and has to be in memory to be signed.`,
      { fix: 'Raise it with the option maxBodyBytes of createAmesh() or createClient().' },
    );
  }
}

/** The same stream, which a signal cancels while somebody waits for it. */
function endedBy(stream: ReadableStream<Uint8Array>, signal: AbortSignal | null): ReadableStream<Uint8Array> {
  return signal === null ? stream : stream.pipeThrough(new TransformStream(), { signal });
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
}

// Node's fetch takes any async iterable of bytes as a body, such as a file's read stream.
function isAsyncIterable(body: object): body is AsyncIterable<Uint8Array | string> {
  return Symbol.asyncIterator in body;
}

/** Iterators that were taken for a body: each gives its bytes once. */
const spent = new WeakSet<AsyncIterator<unknown>>();

function toStream(source: AsyncIterable<Uint8Array | string>): ReadableStream<Uint8Array> {
  const { readableDidRead, destroyed } = source as { readableDidRead?: boolean; destroyed?: boolean }; // Node's
  const iterator = source[Symbol.asyncIterator]();
  if (readableDidRead || destroyed || spent.has(iterator)) throw new TypeError('The body was read already.');
  spent.add(iterator);
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(typeof value === 'string' ? utf8(value) : value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
