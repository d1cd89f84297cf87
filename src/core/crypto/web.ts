import { toUtf8 } from '../encoding';
import { assertPrivateJwk, keyPartsDiffer, toPoint, toSpki } from './points';
import type { CryptoProvider, PrivateJwk, PublicKey, Sha256, Signer } from './provider';

const KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;

// TypeScript distinguishes views of shared memory from others; WebCrypto rejects shared memory at run time.
type Plain = Uint8Array<ArrayBuffer>;

async function sha256(data: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', data as Plain));
}

async function importPublicKey(point: Uint8Array): Promise<PublicKey> {
  const spki = toSpki(point);
  let key: CryptoKey;
  try {
    key = await crypto.subtle.importKey('spki', spki, KEY, false, ['verify']);
  } catch {
    throw new TypeError('This is not a point on the P-256 curve.');
  }
  return {
    verify: async (signature: Uint8Array, message: Uint8Array) =>
      signature.length === 64 &&
      (await crypto.subtle.verify(SIGNATURE, key, signature as Plain, message as Plain)),
  };
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** The part of {@link webCrypto} that verifying uses. */
export const verifyingCrypto: Pick<CryptoProvider, 'sha256' | 'createSha256' | 'importPublicKey'> = {
  sha256,
  createSha256,
  importPublicKey,
};

/** The part of {@link webCrypto} that a client uses. */
export const clientCrypto: typeof verifyingCrypto & Pick<CryptoProvider, 'randomBytes'> = {
  ...verifyingCrypto,
  randomBytes,
};

async function importPrivateKey(jwk: PrivateJwk): Promise<Signer> {
  assertPrivateJwk(jwk);
  const { kty, crv, x, y, d } = jwk;
  let key: CryptoKey;
  try {
    key = await crypto.subtle.importKey('jwk', { kty, crv, x, y, d }, KEY, false, ['sign']);
  } catch {
    throw new TypeError('This is not a private key on the P-256 curve.');
  }
  const signer = toSigner(key, toPoint(jwk));
  // Not every runtime checks on import that the two parts belong together. If they did not, all that anybody would see is refused
  // requests.
  const probe = toUtf8('amesh key check');
  const publicKey = await importPublicKey(signer.publicKey);
  if (!(await publicKey.verify(await signer.sign(probe), probe))) throw keyPartsDiffer();
  return signer;
}

/** The part of {@link webCrypto} that a server with an answer key uses. */
export const signingCrypto: Pick<CryptoProvider, 'importPrivateKey'> = { importPrivateKey };

/** WebCrypto: the default on runtimes without node:crypto (Workers, browsers). */
export const webCrypto: CryptoProvider = /* @__PURE__ */ Object.freeze({
  id: 'web',
  randomBytes,
  sha256,
  createSha256,
  importPublicKey,

  importPrivateKey,

  async generatePrivateKey() {
    const { privateKey } = await crypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
    const { x = '', y = '', d = '' } = await crypto.subtle.exportKey('jwk', privateKey);
    return { kty: 'EC', crv: 'P-256', x, y, d } as const;
  },

  async generateSigner() {
    const { privateKey, publicKey } = await crypto.subtle.generateKey(KEY, false, ['sign', 'verify']);
    const { x = '', y = '' } = await crypto.subtle.exportKey('jwk', publicKey);
    return { signer: toSigner(privateKey, toPoint({ x, y })), x, y };
  },
} satisfies CryptoProvider);

/** An incremental hash, which Workers have in addition to WebCrypto. */
interface DigestStream extends WritableStream<Uint8Array> {
  readonly digest: Promise<ArrayBuffer>;
}

function createSha256(): Sha256 | null {
  const { DigestStream } = crypto as { DigestStream?: new (algorithm: string) => DigestStream };
  if (DigestStream === undefined) return null;
  const stream = new DigestStream('SHA-256');
  const writer = stream.getWriter();
  return {
    update: (data) => writer.write(data),
    async digest() {
      await writer.close();
      return new Uint8Array(await stream.digest);
    },
  };
}

/**
 * Creates a signer from a CryptoKey, which may be non-extractable.
 *
 * @param key an ECDSA P-256 private key with the usage `sign`
 * @param publicKey its compressed point, 33 bytes; a non-extractable key does not reveal it
 * @throws TypeError if it is another kind of key
 */
export function toSigner(key: CryptoKey, publicKey: Uint8Array): Signer {
  const algorithm = key.algorithm as EcKeyAlgorithm;
  if (key.type !== 'private' || algorithm.name !== 'ECDSA' || algorithm.namedCurve !== 'P-256') {
    throw new TypeError('A signer needs an ECDSA P-256 private key.');
  }
  toSpki(publicKey);
  return {
    publicKey: publicKey.slice(),
    sign: async (message) => new Uint8Array(await crypto.subtle.sign(SIGNATURE, key, message as Plain)),
  };
}

/** The provider of this file, under the name that the entry files import. */
export { webCrypto as cryptoProvider };
