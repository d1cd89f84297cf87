import { p256 } from '@noble/curves/nist.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { fromBase64Url, toBase64Url } from '../encoding';
import { assertCompressedPoint, assertPrivateJwk, keyPartsDiffer, toPoint, toPrivateJwk } from './points';
import type { CryptoProvider, PrivateJwk } from './provider';

// lowS: false, because hardware also produces high s. With noble's default, half of all valid signatures would fail.
const ECDSA = { lowS: false, prehash: true, format: 'compact' } as const;

/** Pure JavaScript: slow (a verify takes milliseconds), for runtimes with neither node:crypto nor WebCrypto. */
export const nobleCrypto: CryptoProvider = Object.freeze({
  id: 'noble',

  randomBytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)),

  sha256: (data: Uint8Array) => sha256(data),

  createSha256: () => sha256.create(),

  importPublicKey(point: Uint8Array) {
    assertCompressedPoint(point);
    const key = point.slice();
    if (!p256.utils.isValidPublicKey(key, true))
      throw new TypeError('This is not a point on the P-256 curve.');
    return {
      verify(signature: Uint8Array, message: Uint8Array) {
        if (signature.length !== 64) return false;
        try {
          return p256.verify(signature, message, key, ECDSA);
        } catch {
          return false; // r or s out of range
        }
      },
    };
  },

  importPrivateKey(jwk: PrivateJwk) {
    assertPrivateJwk(jwk);
    const scalar = fromBase64Url(jwk.d) as Uint8Array;
    if (!p256.utils.isValidSecretKey(scalar))
      throw new TypeError('This is not a private key on the P-256 curve.');
    const publicKey = p256.getPublicKey(scalar, true);
    if (toBase64Url(publicKey) !== toBase64Url(toPoint(jwk))) throw keyPartsDiffer();
    return { publicKey, sign: (message: Uint8Array) => p256.sign(message, scalar, ECDSA) };
  },

  generatePrivateKey() {
    const scalar = p256.utils.randomSecretKey();
    return toPrivateJwk(scalar, p256.getPublicKey(scalar, false));
  },
} satisfies CryptoProvider);

/** The provider of this file, under the name that the entry files import. */
export { nobleCrypto as cryptoProvider };
