export { amesh, createAmesh } from '../machine/default/instance.web';
export {
  AllowListIntegrityError,
  AmeshError,
  AnswerUnprovenError,
  allowUnprovenBody,
  ClockSkewTooLargeError,
  hasScope,
  InMemoryNonceStore,
  isAmeshError,
  NoIdentityError,
  NonceStoreUnavailableError,
  provenBy,
  RedirectRefusedError,
  streamUnverifiedBody,
} from './core';
