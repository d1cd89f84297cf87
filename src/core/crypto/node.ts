import {
  createECDH,
  createHash,
  createPrivateKey,
  createPublicKey,
  hash,
  type KeyObject,
  randomFillSync,
  sign,
  verify,
} from 'node:crypto';
import { fromBase64Url, toBase64Url } from '../encoding';
import { fromDer, toDer } from './der';
import { assertPrivateJwk, keyPartsDiffer, toPoint, toPrivateJwk, toSpki } from './points';
import type { CryptoProvider, Signer } from './provider';

// A call to the system's random generator costs a tenth of a signature, whatever its size.
const POOL_BYTES = 4096;
const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

/** Synchronous node:crypto: the fastest for single requests, and the default on Node, Bun and Deno. */
export const nodeCrypto: CryptoProvider = Object.freeze({
  id: 'node',

  randomBytes(length: number) {
    if (length > POOL_BYTES) return randomFillSync(new Uint8Array(length));
    if (used + length > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const bytes = pool.slice(used, used + length);
    pool.fill(0, used, used + length); // keeps no copy of bytes in use
    used += length;
    return bytes;
  },

  sha256: (data: Uint8Array) => hash('sha256', data, 'buffer'),

  createSha256: () => createHash('sha256'),

  importPublicKey(point: Uint8Array) {
    const spki = toSpki(point);
    let key: KeyObject;
    try {
      key = createPublicKey({ key: spki as Buffer, format: 'der', type: 'spki' });
    } catch {
      throw new TypeError('This is not a point on the P-256 curve.');
    }
    return {
      // A plain KeyObject with a DER signature: setting dsaEncoding costs 50 µs a call on Node 24.
      verify: (signature: Uint8Array, message: Uint8Array) =>
        signature.length === 64 && verify('sha256', message, key, toDer(signature, Buffer.allocUnsafe)),
    };
  },

  importPrivateKey(jwk) {
    assertPrivateJwk(jwk);
    const ecdh = createECDH('prime256v1');
    try {
      ecdh.setPrivateKey(fromBase64Url(jwk.d) as Uint8Array);
    } catch {
      throw new TypeError('This is not a private key on the P-256 curve.');
    }
    if (ecdh.getPublicKey('base64url', 'compressed') !== toBase64Url(toPoint(jwk))) throw keyPartsDiffer();
    return toSigner(createPrivateKey({ key: { ...jwk }, format: 'jwk' }));
  },

  generatePrivateKey() {
    // Not by generateKeyPairSync(): Node 20 can deadlock while it exports such a key, if a garbage collection removes the job
    // that made it and locks the key that is being exported.
    const ecdh = createECDH('prime256v1');
    ecdh.generateKeys();
    const [scalar, point] = [ecdh.getPrivateKey(), ecdh.getPublicKey()];
    const padded = new Uint8Array(32);
    padded.set(scalar, 32 - scalar.length); // without its leading zeros
    return toPrivateJwk(padded, point);
  },
} satisfies CryptoProvider);

/**
 * Creates a signer from a P-256 private KeyObject.
 *
 * @throws TypeError if it is another kind of key
 */
export function toSigner(key: KeyObject): Signer {
  const details = key.asymmetricKeyDetails;
  if (key.type !== 'private' || key.asymmetricKeyType !== 'ec' || details?.namedCurve !== 'prime256v1') {
    throw new TypeError('A signer needs a P-256 private key.');
  }
  const publicKey = toPoint(createPublicKey(key).export({ format: 'jwk' }));
  return {
    publicKey,
    // A large message is signed off the event loop. For a small one the handover takes longer than the signature.
    sign: async (message) =>
      fromDer(message.length > 262_144 ? await signBeside(message, key) : sign('sha256', message, key)),
  };
}

function signBeside(message: Uint8Array, key: KeyObject): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    sign('sha256', message, key, (error, signature) => (error ? reject(error) : resolve(signature)));
  });
}

/** The provider of this file, under the names that the entry files import. */
export { nodeCrypto as clientCrypto, nodeCrypto as cryptoProvider, nodeCrypto as verifyingCrypto };
