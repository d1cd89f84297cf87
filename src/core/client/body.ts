import { collect } from '../view';

/** A body as bytes, and the content-type that `fetch` gives a body of this kind. */
export interface EncodedBody {
  /** null where the request has no body at all. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  /** null where `fetch` would send none. */
  readonly contentType: string | null;
}

/**
 * Turns any body that `fetch` takes into bytes, once, so that what is hashed is what is sent. The content-type is
 * the one of the Fetch standard on every runtime; some leave it out for strings.
 *
 * @param limitBytes the most that is buffered of a stream
 * @throws AmeshError `payload_too_large` for a stream beyond the limit; TypeError for a body that is none
 */
export async function encodeBody(
  body: BodyInit | null | undefined,
  limitBytes: number,
): Promise<EncodedBody> {
  if (body === null || body === undefined) return { bytes: null, contentType: null };
  if (typeof body === 'string') return { bytes: utf8(body), contentType: 'text/plain;charset=UTF-8' };
  if (body instanceof URLSearchParams) {
    return { bytes: utf8(body.toString()), contentType: 'application/x-www-form-urlencoded;charset=UTF-8' };
  }
  if (body instanceof ArrayBuffer) return { bytes: new Uint8Array(body.slice(0)), contentType: null };
  if (ArrayBuffer.isView(body)) {
    return {
      bytes: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice() as Uint8Array<ArrayBuffer>,
      contentType: null,
    };
  }
  if (body instanceof ReadableStream) return { bytes: await collect(body, limitBytes), contentType: null };
  if (isAsyncIterable(body)) {
    return { bytes: await collect(toStream(body), limitBytes), contentType: null };
  }
  // Blob and FormData: the runtime writes the multipart form and names its boundary.
  const response = new Response(body);
  return {
    bytes: new Uint8Array(await response.arrayBuffer()),
    contentType: response.headers.get('content-type'),
  };
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
}

// Node's fetch takes any async iterable of bytes as a body, such as a file's read stream.
function isAsyncIterable(body: object): body is AsyncIterable<Uint8Array> {
  return Symbol.asyncIterator in body && !(body instanceof Blob) && !(body instanceof FormData);
}

function toStream(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
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
