export { amesh, createAmesh } from '../machine/default/instance.web';
export {
  AllowListIntegrityError,
  AmeshError,
  ClockSkewTooLargeError,
  InMemoryNonceStore,
  isAmeshError,
  NoIdentityError,
  NonceStoreUnavailableError,
  RedirectRefusedError,
  streamUnverifiedBody,
} from './core';
