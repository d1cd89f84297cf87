const URL_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const STD_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

const URL_VALUES = valuesOf(URL_ALPHABET);
const STD_VALUES = valuesOf(STD_ALPHABET);

function valuesOf(alphabet: string): Int8Array {
  const values = new Int8Array(128).fill(-1);
  for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i;
  return values;
}

function encode(bytes: Uint8Array, alphabet: string): string {
  // An array of character codes that has its final length: joining many small strings, or an array that grows, would be slower.
  const codes = new Array<number>(Math.ceil((bytes.length * 4) / 3));
  let length = 0;
  const put = (value: number) => {
    codes[length++] = alphabet.charCodeAt(value & 63);
  };
  let i = 0;
  for (; i + 2 < bytes.length; i += 3) {
    const n = ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number);
    put(n >> 18);
    put(n >> 12);
    put(n >> 6);
    put(n);
  }
  const rest = bytes.length - i;
  if (rest === 1) {
    const n = bytes[i] as number;
    put(n >> 2);
    put(n << 4);
  } else if (rest === 2) {
    const n = ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
    put(n >> 10);
    put(n >> 4);
    put(n << 2);
  }
  return fromCodes(codes);
}

/** In chunks, since the number of arguments of a call is limited. */
function fromCodes(codes: number[]): string {
  if (codes.length <= 4096) return String.fromCharCode.apply(null, codes);
  let text = '';
  for (let i = 0; i < codes.length; i += 4096)
    text += String.fromCharCode.apply(null, codes.slice(i, i + 4096));
  return text;
}

/** Strict: returns `null` for another alphabet, a stray character or non-zero padding bits. */
function decode(text: string, values: Int8Array): Uint8Array<ArrayBuffer> | null {
  const rest = text.length & 3;
  if (rest === 1) return null;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let buffer = 0;
  let bits = 0;
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const value = code < 128 ? (values[code] as number) : -1;
    if (value < 0) return null;
    buffer = ((buffer << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[length++] = (buffer >> bits) & 0xff;
    }
  }
  // Only one text may stand for a byte string. Otherwise comparing texts would be unreliable.
  return (buffer & ((1 << bits) - 1)) === 0 ? bytes : null;
}

/** Encodes bytes as unpadded base64url (RFC 4648 section 5). */
export function toBase64Url(bytes: Uint8Array): string {
  return encode(bytes, URL_ALPHABET);
}

/** Decodes unpadded base64url; `null` if it is not canonical. */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | null {
  return decode(text, URL_VALUES);
}

/** Encodes bytes as padded base64 (RFC 4648 section 4). */
export function toBase64(bytes: Uint8Array): string {
  const text = encode(bytes, STD_ALPHABET);
  return text + '==='.slice(0, (4 - (text.length & 3)) & 3);
}

/** Decodes padded base64; `null` if it is not canonical. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  if ((text.length & 3) !== 0) return null;
  return decode(text.replace(/={1,2}$/, ''), STD_VALUES);
}

const encoder = new TextEncoder();

/** Encodes text as UTF-8 bytes. */
export function toUtf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text) as Uint8Array<ArrayBuffer>;
}

let strictDecoder: TextDecoder | undefined;

/**
 * Decodes UTF-8 bytes. Strict: a byte order mark stays in the text, so that two byte strings never give the same text.
 *
 * @throws TypeError for bytes that are not UTF-8
 */
export function fromUtf8(bytes: Uint8Array): string {
  strictDecoder ??= new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return strictDecoder.decode(bytes);
}

/**
 * Whether bytes are a text in UTF-8, and not empty.
 *
 * @param options `stream` if more bytes follow, so that the last character may be cut
 */
export function isText(bytes: Uint8Array | undefined, options: TextDecodeOptions): boolean {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes, options) !== '';
  } catch {
    return false; // also where a stream has something other than bytes
  }
}

const NO_BYTES = new Uint8Array();
const SLAB_BYTES = 32_768;
let slab = new Uint8Array(SLAB_BYTES);
let slabUsed = 0;

/**
 * Encodes short text as UTF-8 bytes, in a slice of a larger array that is never written again. A separate array for each
 * signature base would be the most expensive allocation of a request.
 *
 * @param more bytes that follow the text
 */
export function toSlab(text: string, more: Uint8Array = NO_BYTES): Uint8Array<ArrayBuffer> {
  const most = text.length * 3 + more.length;
  if (most > SLAB_BYTES / 4) return more.length === 0 ? toUtf8(text) : joinBytes([toUtf8(text), more]);
  if (slabUsed + most > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    slabUsed = 0;
  }
  const start = slabUsed;
  slabUsed += encoder.encodeInto(text, slab.subarray(start)).written;
  if (more.length > 0) slab.set(more, slabUsed);
  slabUsed += more.length;
  return slab.subarray(start, slabUsed);
}

/** Compares two byte strings in a time that depends only on their lengths. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
}

/** The bytes of all chunks, as a copy: the owner of a chunk may still change it. */
export function joinBytes(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    joined.set(chunk, offset);
    offset += chunk.length;
  }
  return joined;
}
