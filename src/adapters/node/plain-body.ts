import { promisify } from 'node:util';
import * as zlib from 'node:zlib';

type Decode = (body: Uint8Array, options: { maxOutputLength: number }) => Promise<Uint8Array>;

const { zstdDecompress } = zlib as { zstdDecompress?: typeof zlib.gunzip }; // newer Nodes have it

const DECODERS: Readonly<Record<string, Decode | undefined>> = {
  gzip: promisify(zlib.gunzip) as Decode,
  'x-gzip': promisify(zlib.gunzip) as Decode,
  deflate: promisify(zlib.inflate) as Decode,
  br: promisify(zlib.brotliDecompress) as Decode,
  zstd: zstdDecompress && (promisify(zstdDecompress) as Decode),
};

/**
 * The bytes of a body before its content coding, of which an answer has the digest.
 *
 * @param coding the value of Content-Encoding, if the bytes have one
 * @param limitBytes the most bytes to decode to
 * @returns null if they are more, or the coding is unknown
 */
export async function plainBody(
  body: Uint8Array,
  coding: string | undefined,
  limitBytes: number,
): Promise<Uint8Array | null> {
  if (!isCoded(coding) || body.length === 0) return body;
  const decode = Object.hasOwn(DECODERS, coding) ? DECODERS[coding] : undefined;
  try {
    return (await decode?.(body, { maxOutputLength: limitBytes })) ?? null;
  } catch {
    return null; // too long, or a part of a coded file
  }
}

/** Whether a Content-Encoding changes the bytes. */
export function isCoded(coding: string | undefined): coding is string {
  return coding !== undefined && coding !== '' && coding !== 'identity';
}
