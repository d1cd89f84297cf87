export type { Authenticated, Middleware } from '../adapters/express/middleware';
/** The same as `amesh.rawBody`. */
export { rawBody } from '../adapters/node/raw-body';
export { streamUnverifiedBody, type VerifyOptions } from '../core/verify/options';
export { type AuthMeshOptions, verify } from '../machine/default/express';
