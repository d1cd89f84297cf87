export { streamUnverifiedBody } from '../core/verify/options';
export { verify } from '../machine/default/hono';
export type { ServerOptions, ServerSettings } from '../machine/default/verifier-source';
