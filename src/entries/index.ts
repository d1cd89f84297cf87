export type { Authenticated, Middleware } from '../adapters/express/middleware';
export { type Amesh, createAmesh } from '../machine/amesh';
export { amesh } from '../machine/default/instance';
export type { AmeshOptions } from '../machine/options';
export type { DeviceIdentity } from '../trust/identity';
export {
  AllowListIntegrityError,
  type AmeshCode,
  AmeshError,
  type AuthMeshIdentity,
  type ClientRefusal,
  ClockSkewTooLargeError,
  InMemoryNonceStore,
  type InMemoryNonceStoreOptions,
  isAmeshError,
  NoIdentityError,
  type NonceStore,
  NonceStoreUnavailableError,
  RedirectRefusedError,
  type Refusal,
  type RefusalCode,
  streamUnverifiedBody,
  type VerifyOptions,
} from './core';
