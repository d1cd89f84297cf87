/** A value, or a promise of it: synchronous providers keep the request path free of needless turns. */
export type MaybePromise<T> = T | Promise<T>;

/** Makes signatures with one P-256 private key, wherever that lives. */
export interface Signer {
  /** The public key: a compressed P-256 point, 33 bytes (SEC 1 section 2.3.3). */
  readonly publicKey: Uint8Array;
  /**
   * Signs a message with ECDSA over SHA-256. The message comes whole, because agents and enclaves hash inside.
   *
   * @param message any number of bytes; not changed and not kept
   * @returns 64 bytes, r‖s, each 32 bytes big-endian
   */
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/** An imported public key. */
export interface PublicKey {
  /**
   * @param signature 64 bytes, r‖s; high and low s are equally good
   * @param message the bytes that were signed
   * @returns false for anything but a right signature; it does not throw on bad bytes
   */
  verify(signature: Uint8Array, message: Uint8Array): MaybePromise<boolean>;
}

/** SHA-256 of bytes that come piece by piece. */
export interface Sha256 {
  /** Waits, if it is a promise, until the bytes are read and may change. */
  update(data: Uint8Array): unknown;
  /** 32 bytes. Nothing can be added after it. */
  digest(): MaybePromise<Uint8Array>;
}

/** A P-256 private key as a JSON Web Key (RFC 7518 section 6.2). */
export interface PrivateJwk {
  /** The kind of key: an elliptic curve. */
  readonly kty: 'EC';
  /** The curve. */
  readonly crv: 'P-256';
  /** The x coordinate of the public point, 32 bytes in base64url: 43 characters. */
  readonly x: string;
  /** Its y coordinate, likewise. */
  readonly y: string;
  /** The private key, 32 bytes in base64url. A secret. */
  readonly d: string;
}

/**
 * The only door to cryptography. Three stand behind it: `@authmesh/sdk/crypto/node` (synchronous node:crypto, the
 * default on Node, Bun and Deno), `/crypto/web` (WebCrypto, the default elsewhere) and `/crypto/noble` (pure
 * JavaScript, for places that have neither).
 */
export interface CryptoProvider {
  /** Which one it is: `node`, `web` or `noble`. */
  readonly id: string;
  /** Random bytes from the system's generator. */
  randomBytes(length: number): Uint8Array;
  /** SHA-256: 32 bytes. */
  sha256(data: Uint8Array): MaybePromise<Uint8Array>;
  /** The same, piece by piece, for bodies that are streamed; null where there is none, and bodies are buffered. */
  createSha256(): Sha256 | null;
  /**
   * @param point a compressed P-256 point, 33 bytes
   * @throws TypeError where it is not 33 bytes or no point of the curve
   */
  importPublicKey(point: Uint8Array): MaybePromise<PublicKey>;
  /**
   * @throws TypeError where it is no P-256 private key, or its public part is that of another key
   */
  importPrivateKey(jwk: PrivateJwk): MaybePromise<Signer>;
  /** A new private key. */
  generatePrivateKey(): MaybePromise<PrivateJwk>;
}
