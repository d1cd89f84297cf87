import { assertCompressedPoint, toPoint, toSpki } from '../../core/crypto/points';
import type { PrivateJwk } from '../../core/crypto/provider';

/**
 * The only cipher suite of amesh-pair/1: ECDH over P-256, HKDF with SHA-256, AES-256-GCM. WebCrypto supports all of it on
 * every runtime.
 */
export const SUITE = 'p256-hkdf-sha256-aes256gcm';

const ECDH = { name: 'ECDH', namedCurve: 'P-256' } as const;
const { subtle } = crypto;

/** A key pair for one ceremony. */
export interface Ephemeral {
  /** The compressed point, 33 bytes. */
  readonly publicKey: Uint8Array;
  /**
   * The x coordinate of the shared point, 32 bytes.
   *
   * @throws TypeError if the bytes are not a point on the curve
   */
  agree(publicKey: Uint8Array): Promise<Uint8Array>;
}

/** A new key pair; or one from a JSON Web Key, for tests with fixed keys. */
export async function newEphemeral(jwk?: PrivateJwk): Promise<Ephemeral> {
  const { privateKey, publicKey } = await (jwk === undefined ? generate() : fromJwk(jwk));
  return {
    publicKey,
    async agree(point) {
      assertCompressedPoint(point);
      let key: CryptoKey;
      try {
        key = await subtle.importKey('spki', toSpki(point), ECDH, false, []);
      } catch {
        throw new TypeError('This is not a point on the P-256 curve.');
      }
      return new Uint8Array(await subtle.deriveBits({ name: 'ECDH', public: key }, privateKey, 256));
    },
  };
}

interface KeyPair {
  readonly privateKey: CryptoKey;
  readonly publicKey: Uint8Array;
}

/** The private key is not extractable and disappears with the ceremony. */
async function generate(): Promise<KeyPair> {
  const { privateKey, publicKey } = await subtle.generateKey(ECDH, false, ['deriveBits']);
  return { privateKey, publicKey: toPoint(await subtle.exportKey('jwk', publicKey)) };
}

async function fromJwk(jwk: PrivateJwk): Promise<KeyPair> {
  const privateKey = await subtle.importKey('jwk', { ...jwk }, ECDH, false, ['deriveBits']);
  return { privateKey, publicKey: toPoint(jwk) };
}

/** SHA-256: 32 bytes. */
export async function sha256(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await subtle.digest('SHA-256', data));
}

/** HKDF-SHA-256 (RFC 5869): one output of `length` bytes for a label. */
export async function hkdf(
  secret: Uint8Array,
  salt: Uint8Array<ArrayBuffer>,
  label: string,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const key = await subtle.importKey('raw', secret.slice(), 'HKDF', false, ['deriveBits']);
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt, info: new TextEncoder().encode(label) };
  return new Uint8Array(await subtle.deriveBits(parameters, key, length * 8));
}

/** AES-256-GCM with the key of one direction. */
export interface Cipher {
  seal(
    nonce: Uint8Array<ArrayBuffer>,
    additional: Uint8Array<ArrayBuffer>,
    plain: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>>;
  /** @returns null if anything was changed */
  open(
    nonce: Uint8Array<ArrayBuffer>,
    additional: Uint8Array<ArrayBuffer>,
    sealed: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer> | null>;
}

export async function newCipher(key: Uint8Array<ArrayBuffer>): Promise<Cipher> {
  const imported = await subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt', 'decrypt']);
  return {
    async seal(iv, additionalData, plain) {
      return new Uint8Array(await subtle.encrypt({ name: 'AES-GCM', iv, additionalData }, imported, plain));
    },
    async open(iv, additionalData, sealed) {
      try {
        return new Uint8Array(
          await subtle.decrypt({ name: 'AES-GCM', iv, additionalData }, imported, sealed),
        );
      } catch {
        return null;
      }
    },
  };
}
