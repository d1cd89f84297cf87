import type { AuthMeshIdentity } from '../core/verify/caller';
import { type Amesh, createAmesh } from '../machine/amesh';

declare global {
  namespace Express {
    interface Request {
      /** The verified caller, behind `amesh.verify()`. */
      authMesh: AuthMeshIdentity;
    }
  }
}

/** The instance of this machine's own folder (AUTH_MESH_DIR, default ~/.amesh). Nothing is read before its first use. */
export const amesh: Amesh = createAmesh();

export type { Authenticated, Middleware } from '../adapters/express/middleware';
export { type Amesh, type AmeshOptions, createAmesh } from '../machine/amesh';
export type { DeviceIdentity } from '../trust/identity';
export {
  AllowListIntegrityError,
  type AmeshCode,
  AmeshError,
  type AuthMeshIdentity,
  type ClientRejection,
  ClockSkewTooLargeError,
  InMemoryNonceStore,
  type InMemoryNonceStoreOptions,
  isAmeshError,
  NoIdentityError,
  type NonceStore,
  NonceStoreUnavailableError,
  RedirectRefusedError,
  type RejectCode,
  type Rejection,
  streamUnverifiedBody,
  type VerifyOptions,
} from './core';
