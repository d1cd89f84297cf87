export { hasScope, type ScopedRequest } from '../core/devices/has-scope';
export type { AmeshScopes, Scope } from '../core/devices/scopes';
export { streamUnverifiedBody } from '../core/verify/options';
export { verify } from '../machine/default/hono';
export type { ServerOptions, ServerSettings } from '../machine/default/verifier-source';
