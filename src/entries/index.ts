export type { Authenticated, Middleware } from '../adapters/express/middleware';
export type {
  HeardAnswer,
  RequestToSign,
  SignCallOptions,
  SignedRequest,
} from '../core/sign/unsent/sign-unsent';
export type { AnswerHead, HeaderValues } from '../core/sign/unsent/values';
export { type Amesh, createAmesh } from '../machine/amesh';
export type { Calls } from '../machine/calls';
export { amesh } from '../machine/default/instance';
export type { AmeshOptions } from '../machine/options';
export type { DeviceIdentity } from '../trust/identity';
export {
  AllowListIntegrityError,
  type AmeshCode,
  AmeshError,
  type AmeshFetchInit,
  type AmeshScopes,
  type AnswerFacts,
  type Answers,
  AnswerUnprovenError,
  type AuthMeshIdentity,
  allowUnprovenBody,
  type ClientRefusal,
  ClockSkewTooLargeError,
  hasScope,
  InMemoryNonceStore,
  type InMemoryNonceStoreOptions,
  isAmeshError,
  NoIdentityError,
  type NonceStore,
  NonceStoreUnavailableError,
  provenBy,
  RedirectRefusedError,
  type Refusal,
  type RefusalCode,
  type Scope,
  type ScopedRequest,
  streamUnverifiedBody,
  type VerifyOptions,
} from './core';
