import { andThen } from '../and-then';
import type { ClientCrypto, MaybePromise } from '../crypto/provider';
import { fromBase64, toBase64 } from '../encoding';
import { onlyMatch } from '../only-match';
import { readDictionary } from './dictionary';

/**
 * The value of `Content-Digest` for a body.
 *
 * @see RFC 9530 section 2
 */
export function contentDigest(body: Uint8Array, crypto: Pick<ClientCrypto, 'sha256'>): MaybePromise<string> {
  return andThen(crypto.sha256(body), write);
}

function write(digest: Uint8Array): string {
  return `sha-256=:${toBase64(digest)}:`;
}

/** A field of 1,024 characters has no more digests: each takes a name and a comma. */
const MAX_DIGESTS = 512;
const PLAIN = /^sha-256=:([A-Za-z0-9+/]{43}=):$/;

/** Whether a caller's own `Content-Digest` has a SHA-256 digest. Verifiers check it more strictly. */
export function hasSha256(value: string): boolean {
  return /(?:^|,)[ \t]*sha-256=:[A-Za-z0-9+/]{43}=:/.test(value);
}

/**
 * The SHA-256 digest, 32 bytes, in a `Content-Digest`, which may contain others; null if there is not exactly one. For a client,
 * whose bundle has no parser: the field is signed.
 */
export function readPlainDigest(value: string): Uint8Array | null {
  const [, digest] = onlyMatch(MEMBER, value) ?? [];
  return digest === undefined ? null : fromBase64(digest);
}

const MEMBER = /(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):(?=[ \t]*(?:,|$))/g;

/** The SHA-256 digest, 32 bytes, in a `Content-Digest`, which may contain others; null if there is none. */
export function readContentDigest(value: string): Uint8Array | null {
  const plain = PLAIN.exec(value);
  if (plain !== null) return fromBase64(plain[1] as string);
  const { items = null, value: bytes = '' } =
    value.length > 1024 ? {} : (readDictionary(value, MAX_DIGESTS)?.get('sha-256') ?? {});
  const digest = items === null && bytes.startsWith(':') ? fromBase64(bytes.slice(1, -1)) : null;
  return digest?.length === 32 ? digest : null;
}
