import { withOwnSignal } from '../../abort';
import type { MaybePromise } from '../../crypto/provider';
import { AmeshError, isAmeshError } from '../../errors/amesh-error';
import { BODY_CODES } from '../../errors/codes';
import { collect } from '../../wire/view';
import { newBoundary, toMultipart } from './multipart';

/** A body as bytes, with the content type that `fetch` would send. */
export interface EncodedBody {
  /** null if the request has no body. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  /** null if `fetch` would send none. */
  readonly contentType: string | null;
}

/**
 * Converts a body of `fetch` to bytes, once, so that the bytes that are hashed are the bytes that are sent. The content type
 * follows the Fetch standard on every runtime; some runtimes leave it out for strings. Bytes are copied before this returns.
 *
 * @param limitBytes the most bytes of a stream to buffer
 * @param signal cancels the reading of a stream
 * @throws AmeshError `payload_too_large` for a stream beyond the limit; TypeError for a stream that was already read, or
 *   whose chunks are not bytes
 */
export function encodeBody(
  body: BodyInit | null | undefined,
  limitBytes: number,
  signal: AbortSignal | null,
): MaybePromise<EncodedBody> {
  if (body === null || body === undefined) return { bytes: null, contentType: null };
  if (typeof body !== 'object') return { bytes: utf8(String(body)), contentType: 'text/plain;charset=UTF-8' };
  const kind = kindOf(body);
  if (kind === 'URLSearchParams') {
    return { bytes: utf8(body.toString()), contentType: 'application/x-www-form-urlencoded;charset=UTF-8' };
  }
  if (kind === 'ArrayBuffer')
    return { bytes: new Uint8Array((body as ArrayBuffer).slice(0)), contentType: null };
  if (ArrayBuffer.isView(body)) {
    const view = new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
    return { bytes: new Uint8Array(view), contentType: null };
  }
  return readBody(body, kind, limitBytes, signal);
}

/** The bytes of a body that has to be read first. */
async function readBody(
  body: Exclude<BodyInit, string>,
  kind: string,
  limitBytes: number,
  signal: AbortSignal | null,
): Promise<EncodedBody> {
  const stream = toBodyStream(body);
  if (stream !== null) {
    const { getBoundary } = body as { getBoundary?: () => string }; // of the package form-data
    const contentType = getBoundary ? multipart(getBoundary.call(body)) : null;
    return { bytes: await buffer(stream, limitBytes, signal), contentType };
  }
  if (kind === 'FormData') {
    const boundary = newBoundary();
    return { bytes: await toMultipart(body as FormData, boundary), contentType: multipart(boundary) };
  }
  if (kind === 'Blob' || kind === 'File') {
    const { type } = body as Blob; // before the bytes are read, since Bun forgets it then
    return { bytes: new Uint8Array(await (body as Blob).arrayBuffer()), contentType: type || null };
  }
  const response = new Response(body); // a kind of body that only the runtime knows
  const contentType = response.headers.get('content-type');
  return { bytes: new Uint8Array(await response.arrayBuffer()), contentType };
}

/**
 * Converts a body that is a stream of any class to a stream that can be sent; null for any other body. A stream that was
 * partly read is an error: the missing bytes would go unnoticed in the signed body.
 *
 * @throws TypeError for a stream that was read, or is being read
 */
export function toBodyStream(body: BodyInit | null): ReadableStream<Uint8Array> | null {
  if ((body as ReadableStream | null)?.locked === true)
    throw new TypeError('The body is a stream that something else reads.');
  if (body instanceof ReadableStream) return new Response(body).body; // Response checks that it is unread
  if (typeof body !== 'object' || body === null) return null;
  if (isAsyncIterable(body)) return toStream(body);
  const other = body as Partial<ReadableStream<Uint8Array> & OldStream>;
  if (typeof other.getReader === 'function') return toStream(readerOf(other as ReadableStream<Uint8Array>));
  return typeof other.pipe === 'function' && typeof other.on === 'function'
    ? fromEvents(other as OldStream)
    : null;
}

/** A stream that nobody else can read. */
export interface HeldStream {
  /** The same bytes. Nothing is read before somebody reads them. */
  readonly stream: ReadableStream<Uint8Array>;
  /** Lets others read the stream again, unless a part of it was read. */
  readonly release: () => void;
}

/**
 * Keeps a stream for one reader. It cannot be unlocked just before it is sent: Bun treats a stream that was locked as one that was
 * read.
 */
export function holdStream(source: ReadableStream<Uint8Array>): HeldStream {
  const reader = source.getReader();
  let isRead = false;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        isRead = true;
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel(reason) {
        isRead = true;
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, release: () => isRead || reader.releaseLock() };
}

/** A Node stream of the old kind, without async iteration, such as that of the package form-data. */
interface OldStream {
  on(event: string, listener: (value: never) => void): unknown;
  pipe: unknown;
  pause?(): void;
  resume?(): void;
  destroy?(): void;
}

/** Such a stream continues after it was destroyed: form-data reads on in the file that it has begun. */
function fromEvents(stream: OldStream): ReadableStream<Uint8Array> {
  let isOver = false;
  const end = (how: () => unknown) => {
    if (!isOver) {
      isOver = true;
      how();
    }
  };
  return new ReadableStream({
    start(controller) {
      stream.on('data', (chunk: Uint8Array | string) => {
        if (isOver) return;
        controller.enqueue(bytesOf(chunk));
        if ((controller.desiredSize as number) <= 0) stream.pause?.();
      });
      stream.on('end', () => end(() => controller.close()));
      stream.on('error', (reason: unknown) => end(() => controller.error(reason)));
    },
    pull: () => void stream.resume?.(),
    cancel() {
      isOver = true;
      stream.resume?.(); // otherwise that file stays open
      stream.destroy?.();
    },
  });
}

/** Reads a stream of another implementation, which may not be iterable. */
async function* readerOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** The name of the body's class, which is the same in every realm and library. */
function kindOf(body: object): string {
  return Object.prototype.toString.call(body).slice(8, -1);
}

function multipart(boundary: string): string {
  return `multipart/form-data; boundary=${boundary}`;
}

function bytesOf(chunk: Uint8Array | string): Uint8Array {
  return typeof chunk === 'string' ? utf8(chunk) : chunk;
}

async function buffer(
  stream: ReadableStream<Uint8Array>,
  limitBytes: number,
  signal: AbortSignal | null,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    if (signal === null) return await collect(stream, limitBytes);
    return await withOwnSignal(signal, (own) =>
      collect(stream.pipeThrough(new TransformStream(), { signal: own }), limitBytes),
    );
  } catch (error) {
    if (!isAmeshError(error) || error.code !== 'payload_too_large') throw error;
    throw new AmeshError(
      BODY_CODES.payload_too_large,
      `The body is a stream of more than ${limitBytes} bytes. It must fit into memory to be signed.`,
      { fix: 'Raise maxBufferedBytes of createAmesh() or createClient().' },
    );
  }
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
}

// Node's fetch accepts any async iterable of bytes as a body, such as a file's read stream.
function isAsyncIterable(body: object): body is AsyncIterable<Uint8Array | string> {
  return Symbol.asyncIterator in body;
}

/** Iterators that were used as a body: each delivers its bytes only once. */
const spent = new WeakSet<AsyncIterator<unknown>>();

function toStream(source: AsyncIterable<Uint8Array | string>): ReadableStream<Uint8Array> {
  const { readableDidRead, destroyed } = source as { readableDidRead?: boolean; destroyed?: boolean }; // Node's
  const iterator = source[Symbol.asyncIterator]();
  if (readableDidRead || destroyed || spent.has(iterator)) throw new TypeError('The body was already read.');
  spent.add(iterator);
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(bytesOf(value));
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
