import { fromBase64Url, toBase64Url } from '../encoding';
import type { PrivateJwk } from './provider';

// SubjectPublicKeyInfo of a compressed P-256 point, up to the point itself (RFC 5480). Every runtime can import it.
const SPKI_PREFIX = fromBase64Url('MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgA') as Uint8Array;

/** Throws a TypeError unless the bytes look like a compressed point; the provider checks that it is on the curve. */
export function assertCompressedPoint(point: Uint8Array): void {
  if (point.length !== 33 || (point[0] !== 2 && point[0] !== 3)) {
    throw new TypeError('A public key is a compressed P-256 point of 33 bytes.');
  }
}

/** Converts a compressed point, 33 bytes, to SubjectPublicKeyInfo, 59 bytes. */
export function toSpki(point: Uint8Array): Uint8Array<ArrayBuffer> {
  assertCompressedPoint(point);
  const spki = new Uint8Array(SPKI_PREFIX.length + 33);
  spki.set(SPKI_PREFIX);
  spki.set(point, SPKI_PREFIX.length);
  return spki;
}

/** Converts the coordinates of a JSON Web Key to a compressed point, 33 bytes. */
export function toPoint(jwk: { x?: string | undefined; y?: string | undefined }): Uint8Array<ArrayBuffer> {
  const x = fromBase64Url(jwk.x ?? '');
  const y = fromBase64Url(jwk.y ?? '');
  if (x?.length !== 32 || y?.length !== 32)
    throw new TypeError('A P-256 key needs x and y of 32 bytes each.');
  const point = new Uint8Array(33);
  point[0] = 2 + ((y[31] as number) & 1);
  point.set(x, 1);
  return point;
}

/** The field of P-256 and the b of its equation (SP 800-186 section 3.2.1.3). */
const P = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;

/** Whether coordinates are those of a point on P-256. A compressed point does not show that, since it has no y. */
export function isOnCurve({ x, y }: { readonly x: string; readonly y: string }): boolean {
  const [a, b] = [toCoordinate(x), toCoordinate(y)];
  return a !== null && b !== null && (b * b - (a * a * a - 3n * a + B)) % P === 0n;
}

/** A number below P from 32 bytes in base64url; null for anything else. */
function toCoordinate(text: string): bigint | null {
  const bytes = fromBase64Url(text);
  if (bytes?.length !== 32) return null;
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value < P ? value : null;
}

/** Throws a TypeError unless this looks like a P-256 private key. */
export function assertPrivateJwk(jwk: PrivateJwk): void {
  const d = fromBase64Url(jwk.d ?? '');
  if (jwk.kty !== 'EC' || jwk.crv !== 'P-256' || d?.length !== 32) {
    throw new TypeError('A private key is a JSON Web Key with kty EC, crv P-256 and d of 32 bytes.');
  }
  toPoint(jwk);
}

/** Converts a private scalar of 32 bytes and its uncompressed point of 65 bytes to a JSON Web Key. */
export function toPrivateJwk(scalar: Uint8Array, uncompressed: Uint8Array): PrivateJwk {
  return {
    kty: 'EC',
    crv: 'P-256',
    x: toBase64Url(uncompressed.subarray(1, 33)),
    y: toBase64Url(uncompressed.subarray(33, 65)),
    d: toBase64Url(scalar),
  };
}

/** The error for a private key with the public part of another key, for all providers. */
export function keyPartsDiffer(): TypeError {
  return new TypeError('The public part of this private key belongs to another key.');
}
