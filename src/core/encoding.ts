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
  // Through character codes: a string put together piece by piece is a tree that somebody has to flatten.
  const codes: number[] = [];
  const put = (value: number) => codes.push(alphabet.charCodeAt(value & 63));
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

/** In pieces, since an argument list has an end. */
function fromCodes(codes: number[]): string {
  if (codes.length <= 4096) return String.fromCharCode.apply(null, codes);
  let text = '';
  for (let i = 0; i < codes.length; i += 4096)
    text += String.fromCharCode.apply(null, codes.slice(i, i + 4096));
  return text;
}

/** Strict: another alphabet, a stray character or non-zero padding bits give `null`. */
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
  // Two texts for the same bytes would make every comparison of texts ambiguous.
  return (buffer & ((1 << bits) - 1)) === 0 ? bytes : null;
}

/** Bytes as unpadded base64url (RFC 4648 section 5). */
export function toBase64Url(bytes: Uint8Array): string {
  return encode(bytes, URL_ALPHABET);
}

/** Unpadded base64url as bytes, or `null` where it is not canonical. */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | null {
  return decode(text, URL_VALUES);
}

/** Bytes as padded base64 (RFC 4648 section 4). */
export function toBase64(bytes: Uint8Array): string {
  const text = encode(bytes, STD_ALPHABET);
  return text + '==='.slice(0, (4 - (text.length & 3)) & 3);
}

/** Padded base64 as bytes, or `null` where it is not canonical. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  if ((text.length & 3) !== 0) return null;
  return decode(text.replace(/={1,2}$/, ''), STD_VALUES);
}

const encoder = new TextEncoder();

/** Text as UTF-8 bytes. */
export function toUtf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text) as Uint8Array<ArrayBuffer>;
}

let strictDecoder: TextDecoder | undefined;

/**
 * UTF-8 bytes as text. Strict: a byte order mark stays in the text, so that no two byte strings give the same.
 *
 * @throws TypeError for bytes that are no UTF-8
 */
export function fromUtf8(bytes: Uint8Array): string {
  strictDecoder ??= new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return strictDecoder.decode(bytes);
}

const SLAB_BYTES = 32_768;
let slab = new Uint8Array(SLAB_BYTES);
let slabUsed = 0;

/**
 * Short text as UTF-8 bytes: a part of a larger array that nobody writes to again. An array of its own for each
 * signature base would be the dearest object of a request.
 */
export function toSlab(text: string): Uint8Array<ArrayBuffer> {
  const most = text.length * 3;
  if (most > SLAB_BYTES / 4) return toUtf8(text);
  if (slabUsed + most > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    slabUsed = 0;
  }
  const start = slabUsed;
  slabUsed += encoder.encodeInto(text, slab.subarray(start)).written;
  return slab.subarray(start, slabUsed);
}

/** Whether two byte strings are equal, in a time that depends on their lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
}
