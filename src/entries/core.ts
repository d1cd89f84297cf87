export { type AnswerView, answerNonce } from '../core/answers/answer';
export {
  type AmeshFetchInit,
  type Answers,
  allowUnprovenBody,
  type CalledTarget,
} from '../core/answers/asking';
export type { AnswerProof } from '../core/answers/proof';
export { type AnswerFacts, provenBy } from '../core/answers/proven-by';
export {
  type AnsweredBy,
  type AnswerSigner,
  signAnswer,
  type UnsignedAnswer,
} from '../core/answers/sign-answer';
export { type ExpectedAnswer, type ProvenHead, verifyAnswer } from '../core/answers/verify-answer';
export { fromDerSignature } from '../core/crypto/der-signature';
export type {
  CryptoProvider,
  GeneratedSigner,
  MaybePromise,
  PrivateJwk,
  PublicKey,
  RequestSigner,
  Sha256,
  Signer,
} from '../core/crypto/provider';
export {
  type AllowList,
  type AllowListSource,
  createAllowList,
  deviceIdOf,
  type ProvingKey,
  type Role,
  type TrustedDevice,
} from '../core/devices/allow-list';
export { hasScope, type ScopedRequest } from '../core/devices/has-scope';
export type { AmeshScopes, Scope } from '../core/devices/scopes';
export { fromBase64Url, toBase64Url } from '../core/encoding';
export {
  AllowListIntegrityError,
  AmeshError,
  type AmeshErrorOptions,
  AnswerUnprovenError,
  ClockSkewTooLargeError,
  fixWith,
  isAmeshError,
  NonceStoreUnavailableError,
  RedirectRefusedError,
} from '../core/errors/amesh-error';
export type { AmeshCode, RefusalCode } from '../core/errors/code-names';
export type { CodeFacts, Fix, RefusalFacts, Texts, WireTexts } from '../core/errors/define-codes';
export { InMemoryNonceStore, type InMemoryNonceStoreOptions } from '../core/nonces/memory';
export type { NonceStore } from '../core/nonces/nonce-store';
export type { RotationAnswer } from '../core/rotation/field';
export type { Rotation } from '../core/rotation/rotation';
export { type Client, createClient } from '../core/sign/client';
export type { AnsweredRotation, ClientOptions } from '../core/sign/options';
export type { ClientRefusal } from '../core/sign/refusal';
export { type SignatureFormat, type SignOptions, signRequest } from '../core/sign/sign-request';
export {
  type DelegatedSigner,
  type DelegatedSignerOptions,
  type DelegationFacts,
  delegatedSigner,
} from '../core/statements/delegated-signer';
export type { DelegationTarget } from '../core/statements/delegation-targets';
export { type WorkingKeyOptions, withWorkingKey } from '../core/statements/working-key';
export type { VerifyCall } from '../core/verify/checks';
export type { FreshnessOptions } from '../core/verify/freshness';
export { streamUnverifiedBody, type VerifyOptions } from '../core/verify/options';
export type { Refusal } from '../core/verify/refusal';
export type { BodyStream } from '../core/verify/stream-body';
export type {
  Accepted,
  Answer,
  Answered,
  AnswerHeaders,
  AuthMeshIdentity,
  Delegate,
  Refused,
  Verdict,
} from '../core/verify/verdict';
export { createVerifier, type Verifier, type VerifierOptions } from '../core/verify/verify';
export { isLoopback, normalizeAuthority } from '../core/wire/authority';
export type { BodyGate } from '../core/wire/body-gate';
export { type HeaderLines, type ReadBody, type RequestView, toRequestView } from '../core/wire/view';
export { CODES } from '../machine/all-codes';
export { NoIdentityError } from '../trust/errors/no-identity';
