export { amesh, createAmesh } from '../machine/default/instance.web';
export {
  AllowListIntegrityError,
  AmeshError,
  ClockSkewTooLargeError,
  hasScope,
  InMemoryNonceStore,
  isAmeshError,
  NoIdentityError,
  NonceStoreUnavailableError,
  RedirectRefusedError,
  streamUnverifiedBody,
} from './core';
