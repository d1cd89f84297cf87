export type { Authenticated, Middleware } from '../adapters/express/middleware';
/** The same as `amesh.rawBody`. */
export { rawBody } from '../adapters/node/raw-body';
export { hasScope, type ScopedRequest } from '../core/devices/has-scope';
export type { AmeshScopes, Scope } from '../core/devices/scopes';
export { streamUnverifiedBody, type VerifyOptions } from '../core/verify/options';
export { type AuthMeshOptions, verify } from '../machine/default/express';
