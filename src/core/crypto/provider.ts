/** A value, or a promise of one: synchronous providers save turns of the event loop on each request. */
export type MaybePromise<T> = T | Promise<T>;

/** Signs with one P-256 private key, wherever it is stored. */
export interface Signer {
  /** The public key: a compressed P-256 point, 33 bytes (SEC 1 section 2.3.3). */
  readonly publicKey: Uint8Array;
  /**
   * Signs a message with ECDSA over SHA-256. It receives the whole message, because agents and enclaves hash internally.
   *
   * @param message any number of bytes; not changed and not kept
   * @returns 64 bytes, r‖s, each 32 bytes big-endian; without a promise if possible, so that an answer need not wait
   */
  sign(message: Uint8Array): MaybePromise<Uint8Array>;
  /**
   * Supplies the key that signs requests, if that is another key than this one. Asked for each request, so it should return
   * the same key without work. Without this method, the signer signs requests itself.
   */
  requestSigner?(): MaybePromise<RequestSigner>;
}

/**
 * Signs requests for a device with a working key, which the device key has signed a statement about.
 *
 * @see docs/protocol.md, "Working keys"
 */
export interface RequestSigner {
  /** The public working key: a compressed P-256 point, 33 bytes. */
  readonly publicKey: Uint8Array;
  /** Signs with the working key, as {@link Signer} does. */
  sign(message: Uint8Array): MaybePromise<Uint8Array>;
  /** The ID of the device for which it signs: the `id` or `keyid` of its requests. */
  readonly deviceId: string;
  /** The statement about the working key, sent and signed as AuthMesh-Key; at most 1,024 characters. */
  readonly statement: string;
  /**
   * Called when a server has refused a request that this key signed with `unauthorized`: the statement may no longer count.
   *
   * @returns a promise if another key is being made; it resolves even if that fails. Then the request can be signed again
   */
  refused?(): Promise<void> | undefined;
}

/** An imported public key. */
export interface PublicKey {
  /**
   * @param signature 64 bytes, r‖s; high and low s are both valid
   * @param message the bytes that were signed
   * @returns whether the signature is valid; it does not throw on malformed bytes
   */
  verify(signature: Uint8Array, message: Uint8Array): MaybePromise<boolean>;
}

/** An incremental SHA-256. */
export interface Sha256 {
  /** If it returns a promise, the caller must not change the bytes before that resolves. */
  update(data: Uint8Array): unknown;
  /** The hash, 32 bytes. Nothing can be added afterwards. */
  digest(): MaybePromise<Uint8Array>;
}

/** A P-256 private key as a JSON Web Key (RFC 7518 section 6.2). */
export interface PrivateJwk {
  /** The kind of key: a key on an elliptic curve. */
  readonly kty: 'EC';
  /** The curve. */
  readonly crv: 'P-256';
  /** The x coordinate of the public point, 32 bytes in base64url: 43 characters. */
  readonly x: string;
  /** The y coordinate, likewise. */
  readonly y: string;
  /** The private scalar, 32 bytes in base64url. Secret. */
  readonly d: string;
}

/**
 * All cryptography of the core. There are three implementations: `@authmesh/sdk/crypto/node` (synchronous node:crypto, the
 * default on Node, Bun and Deno), `/crypto/web` (WebCrypto, the default elsewhere) and `/crypto/noble` (pure JavaScript,
 * for runtimes with neither).
 */
export interface CryptoProvider {
  /** The name: `node`, `web` or `noble`. */
  readonly id: string;
  /** Random bytes from the system's generator. */
  randomBytes(length: number): Uint8Array;
  /** SHA-256: 32 bytes. */
  sha256(data: Uint8Array): MaybePromise<Uint8Array>;
  /** An incremental SHA-256 for streamed bodies; null if the runtime has none, and bodies are buffered. */
  createSha256(): Sha256 | null;
  /**
   * @param point a compressed P-256 point, 33 bytes
   * @throws TypeError if it is not 33 bytes, or not a point on the curve
   */
  importPublicKey(point: Uint8Array): MaybePromise<PublicKey>;
  /**
   * @throws TypeError if it is not a P-256 private key, or its public part belongs to another key
   */
  importPrivateKey(jwk: PrivateJwk): MaybePromise<Signer>;
  /** Generates a new private key. */
  generatePrivateKey(): MaybePromise<PrivateJwk>;
  /**
   * Generates a new private key that never leaves the memory of the runtime's cryptography: no string contains it. Without this
   * method, working keys are made with the two above.
   */
  generateSigner?(): MaybePromise<GeneratedSigner>;
}

/** A signer with a new key. */
export interface GeneratedSigner {
  /** Signs with it. */
  readonly signer: Signer;
  /** The x coordinate of the public point, 32 bytes in base64url: 43 characters. */
  readonly x: string;
  /** The y coordinate, likewise. */
  readonly y: string;
}

/** The part of a {@link CryptoProvider} that verifying uses. A bundle that only verifies leaves out the code for private keys. */
export type VerifyingCrypto = Pick<CryptoProvider, 'sha256' | 'createSha256' | 'importPublicKey'>;

/** The part of a {@link CryptoProvider} that a client uses, in addition to its signer. */
export type ClientCrypto = VerifyingCrypto & Pick<CryptoProvider, 'randomBytes'>;
