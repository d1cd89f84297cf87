export {
  type AllowList,
  type AllowListSource,
  createAllowList,
  deviceIdOf,
  type Role,
  type TrustedDevice,
} from './allow-list';
export { isLoopback, normalizeAuthority } from './authority';
export type { BodyGate } from './body-gate';
export type { AuthMeshIdentity } from './caller';
export { type Client, type ClientOptions, createClient } from './client/client';
export type { ClientRejection } from './client/refusal';
export { type AmeshCode, CODES, type RejectCode } from './codes';
export type { CryptoProvider, MaybePromise, PrivateJwk, PublicKey, Sha256, Signer } from './crypto/provider';
export { fromBase64Url, toBase64Url } from './encoding';
export type { Enroller, EnrolmentRequest } from './enrolment';
export {
  AllowListIntegrityError,
  AmeshError,
  ClockSkewTooLargeError,
  isAmeshError,
  NoIdentityError,
  NonceStoreUnavailableError,
  RedirectRefusedError,
} from './errors';
export type { FreshnessOptions } from './freshness';
export { InMemoryNonceStore, type InMemoryNonceStoreOptions, type NonceStore } from './nonce-memory';
export type { RefusalMessage } from './refusal';
export type { Rejection } from './rejection';
export { type SignatureFormat, type SignOptions, signRequest } from './sign';
export type { BodyStream } from './stream-body';
export {
  type Acceptance,
  type Accepted,
  type AnswerHeaders,
  createVerifier,
  type Refused,
  type Verifier,
  type VerifierOptions,
  type VerifyCall,
} from './verify';
export { streamUnverifiedBody, type VerifyOptions } from './verify-options';
export { type HeaderLines, type ReadBody, type RequestView, toRequestView } from './view';
