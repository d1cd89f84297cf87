export type { Hook } from '../adapters/fastify/hook';
export { streamUnverifiedBody } from '../core/verify/options';
export { type AuthMeshOptions, authMesh, verify } from '../machine/default/fastify';
