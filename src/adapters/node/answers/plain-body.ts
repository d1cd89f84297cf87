import { promisify } from 'node:util';
import { isCoded } from '../../../core/wire/coding';

type Decode = (body: Uint8Array, options: { maxOutputLength: number }) => Promise<Uint8Array>;

let decoders: Readonly<Record<string, Decode | undefined>> | undefined;

/** Made only when a body is coded: few processes have such bodies, and each would load zlib for them. */
function decodersOf(): Readonly<Record<string, Decode | undefined>> {
  if (decoders !== undefined) return decoders;
  const zlib = process.getBuiltinModule('node:zlib');
  const { zstdDecompress } = zlib as { zstdDecompress?: typeof zlib.gunzip }; // newer versions of Node have it
  const gzip = promisify(zlib.gunzip) as Decode;
  decoders = {
    gzip,
    'x-gzip': gzip,
    deflate: promisify(zlib.inflate) as Decode,
    br: promisify(zlib.brotliDecompress) as Decode,
    zstd: zstdDecompress && (promisify(zstdDecompress) as Decode),
  };
  return decoders;
}

/**
 * The bytes of a body before its content coding. An answer has the digest of these.
 *
 * @param coding the value of Content-Encoding, if the bytes have one
 * @param limitBytes the most bytes to decode to
 * @returns null if there are more, or the coding is unknown
 */
export async function plainBody(
  body: Uint8Array,
  coding: string | undefined,
  limitBytes: number,
): Promise<Uint8Array | null> {
  if (!isCoded(coding) || body.length === 0) return body;
  const known = decodersOf();
  const decode = Object.hasOwn(known, coding) ? known[coding] : undefined;
  try {
    return (await decode?.(body, { maxOutputLength: limitBytes })) ?? null;
  } catch {
    return null; // too long, or a part of a coded file
  }
}
