import type { NodeResponse } from '../request';

/** What a handler has written, as bytes. */
export interface Written {
  readonly bytes: Uint8Array;
  /** The chunk as it was passed: Node sends a text in one piece with the head. */
  readonly given: string | Uint8Array;
  readonly encoding: BufferEncoding | undefined;
  readonly callback: ((error?: Error | null) => void) | undefined;
}

const NOTHING = new Uint8Array();

/**
 * The arguments of `write()`.
 *
 * @returns null for a chunk that Node would not accept either
 */
export function readWrite([chunk, encoding, callback]: readonly unknown[]): Written | null {
  const name = typeof encoding === 'string' ? (encoding as BufferEncoding) : undefined;
  const bytes = bytesOf(chunk, name);
  if (bytes === null) return null;
  const given = typeof chunk === 'string' ? chunk : bytes;
  return { bytes, given, encoding: name, callback: functionOf(encoding) ?? functionOf(callback) };
}

/** The same with bytes of our own: a program may use its buffer again as soon as Node would have sent it. */
export function ownBytes(written: Written): Written {
  if (typeof written.given === 'string' || written.bytes.length === 0) return written;
  const copy = Buffer.from(written.bytes);
  return { ...written, bytes: copy, given: copy };
}

/** The arguments of `end()`; see {@link readWrite}. */
export function readEnd(args: readonly unknown[]): Written | null {
  const [chunk, encoding, callback] = args;
  if (typeof chunk !== 'function' && chunk !== undefined && chunk !== null && chunk !== '')
    return readWrite(args);
  const found = functionOf(chunk) ?? functionOf(encoding) ?? functionOf(callback);
  return { bytes: NOTHING, given: NOTHING, encoding: undefined, callback: found };
}

function bytesOf(chunk: unknown, encoding: BufferEncoding | undefined): Uint8Array | null {
  if (typeof chunk === 'string') return Buffer.from(chunk, encoding);
  if (chunk instanceof Uint8Array) return chunk;
  return ArrayBuffer.isView(chunk) ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength) : null;
}

function functionOf(value: unknown): Written['callback'] {
  return typeof value === 'function' ? (value as Written['callback']) : undefined;
}

/** The value that a header will have if `writeHead()` is called with these arguments. */
export function valueIn(
  [, reason, more]: readonly unknown[],
  response: Pick<NodeResponse, 'getHeader'>,
  name: string,
): string | undefined {
  const given = pairsOf(typeof reason === 'string' ? more : (reason ?? more));
  const value =
    given.findLast(([key]) => String(key).toLowerCase() === name)?.[1] ?? response.getHeader(name);
  return value === undefined || value === null ? undefined : String(value);
}

/** Headers as an object, as a list of pairs, or as a list of names and values in turn. */
function pairsOf(headers: unknown): readonly (readonly unknown[])[] {
  if (typeof headers !== 'object' || headers === null) return [];
  if (!Array.isArray(headers)) return Object.entries(headers);
  if (Array.isArray(headers[0])) return headers;
  return headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1]]] : []));
}
