import { parseDictionary, serializeDictionary } from 'structured-headers';
import type { ClientCrypto, MaybePromise } from '../crypto/provider';
import { fromBase64, toBase64 } from '../encoding';

/**
 * The value of `Content-Digest` for a body.
 *
 * @see RFC 9530 section 2
 */
export function contentDigest(body: Uint8Array, crypto: Pick<ClientCrypto, 'sha256'>): MaybePromise<string> {
  const digest = crypto.sha256(body);
  return digest instanceof Promise ? digest.then(write) : write(digest);
}

function write(digest: Uint8Array): string {
  return `sha-256=:${toBase64(digest)}:`;
}

const PLAIN = /^sha-256=:([A-Za-z0-9+/]{43}=):$/;

/** Whether a caller's own `Content-Digest` has a SHA-256 digest. Verifiers check it more strictly. */
export function hasSha256(value: string): boolean {
  return /(?:^|,)[ \t]*sha-256=:[A-Za-z0-9+/]{43}=:/.test(value);
}

/**
 * The SHA-256 digest, 32 bytes, among others, for a client, whose bundle has no parser: what it finds is signed. Null if there is not exactly one.
 */
export function readPlainDigest(value: string): Uint8Array | null {
  const [first, second] = value.matchAll(MEMBER);
  return first === undefined || second !== undefined ? null : fromBase64(first[1] as string);
}

const MEMBER = /(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):(?=[ \t]*(?:,|$))/g;

/** The SHA-256 digest, 32 bytes, in a `Content-Digest`, which may contain others; null if there is none. */
export function readContentDigest(value: string): Uint8Array | null {
  const plain = PLAIN.exec(value);
  if (plain !== null) return fromBase64(plain[1] as string);
  if (value.length > 1024) return null;
  try {
    const dictionary = parseDictionary(value);
    if (serializeDictionary(dictionary).replaceAll(' ', '') !== value.replace(/[ \t]/g, '')) return null;
    const digest = dictionary.get('sha-256')?.[0];
    return digest instanceof ArrayBuffer && digest.byteLength === 32 ? new Uint8Array(digest) : null;
  } catch {
    return null;
  }
}
