export type { Hook } from '../adapters/fastify/hook';
export { hasScope, type ScopedRequest } from '../core/devices/has-scope';
export type { AmeshScopes, Scope } from '../core/devices/scopes';
export { streamUnverifiedBody } from '../core/verify/options';
export { type AuthMeshOptions, authMesh, verify } from '../machine/default/fastify';
