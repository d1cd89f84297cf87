import {
  createECDH,
  createHash,
  createPrivateKey,
  createPublicKey,
  type ECDH,
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
    pool.fill(0, used, used + length); // keeps no copy of the bytes that were handed out
    used += length;
    return bytes;
  },

  // By way of a text: creating a Buffer takes longer than hashing 1 KiB.
  sha256(data: Uint8Array) {
    const text = hash('sha256', data, 'binary');
    const digest = new Uint8Array(32);
    for (let i = 0; i < 32; i++) digest[i] = text.charCodeAt(i);
    return digest;
  },

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
    const scalar = fromBase64Url(jwk.d) as Uint8Array;
    try {
      setPrivateKey(ecdh, scalar);
      if (ecdh.getPublicKey('base64url', 'compressed') !== toBase64Url(toPoint(jwk))) throw keyPartsDiffer();
      return toSigner(keyOf(ecdh));
    } finally {
      scalar.fill(0); // not earlier, since Deno keeps no copy
    }
  },

  generatePrivateKey() {
    const ecdh = createECDH('prime256v1');
    ecdh.generateKeys();
    const scalar = ecdh.getPrivateKey();
    const padded = new Uint8Array(32);
    padded.set(scalar, 32 - scalar.length); // without its leading zeros
    const jwk = toPrivateJwk(padded, ecdh.getPublicKey());
    scalar.fill(0);
    padded.fill(0);
    return jwk;
  },

  generateSigner() {
    const ecdh = createECDH('prime256v1');
    ecdh.generateKeys();
    // Not from the private key: extracting its public key costs as much as generating the key.
    const point = ecdh.getPublicKey();
    const [x, y] = [toBase64Url(point.subarray(1, 33)), toBase64Url(point.subarray(33))];
    return { signer: signerOf(keyOf(ecdh), toPoint({ x, y })), x, y };
  },
} satisfies CryptoProvider);

// The parts of a PKCS#8 key of P-256 around its scalar, 32 bytes, and its point, 65 bytes (RFC 5208, RFC 5915).
const BEFORE_SCALAR = Buffer.from('MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg', 'base64');
const BEFORE_POINT = Buffer.from('oUQDQgA=', 'base64');
const SCALAR_END = BEFORE_SCALAR.length + 32;
const POINT_START = SCALAR_END + BEFORE_POINT.length;

/**
 * Generates a P-256 private key, which is then only in the memory of OpenSSL. It is in no string, because nobody could overwrite a
 * string.
 *
 * It does not use generateKeyPairSync(): Node 20 can deadlock while it exports a key from there, if a garbage collection removes
 * the job that made the key and locks the key that is being exported.
 */
export function newPrivateKey(): KeyObject {
  const ecdh = createECDH('prime256v1');
  ecdh.generateKeys();
  return keyOf(ecdh);
}

function setPrivateKey(ecdh: ECDH, scalar: Uint8Array): void {
  try {
    ecdh.setPrivateKey(scalar);
  } catch {
    throw new TypeError('This is not a private key on the P-256 curve.');
  }
}

function keyOf(ecdh: ECDH): KeyObject {
  const scalar = ecdh.getPrivateKey();
  const der = new Uint8Array(POINT_START + 65);
  der.set(BEFORE_SCALAR);
  der.set(scalar, SCALAR_END - scalar.length); // the scalar comes without its leading zeros
  der.set(BEFORE_POINT, SCALAR_END);
  der.set(ecdh.getPublicKey(), POINT_START);
  const key = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
  scalar.fill(0);
  der.fill(0);
  return key;
}

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
  return signerOf(key, toPoint(createPublicKey(key).export({ format: 'jwk' })));
}

function signerOf(key: KeyObject, publicKey: Uint8Array): Signer {
  return {
    publicKey,
    // A large message is signed off the event loop. For a small one the handover takes longer than the signature.
    sign: (message) =>
      message.length > 262_144
        ? signBeside(message, key).then(fromDer)
        : fromDer(sign('sha256', message, key)),
  };
}

function signBeside(message: Uint8Array, key: KeyObject): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    sign('sha256', message, key, (error, signature) => (error ? reject(error) : resolve(signature)));
  });
}

/** The provider of this file, under the names that the entry files import. */
export {
  nodeCrypto as clientCrypto,
  nodeCrypto as cryptoProvider,
  nodeCrypto as signingCrypto,
  nodeCrypto as verifyingCrypto,
};
