export {
  AmeshNonces,
  DurableNonceStore,
  type DurableObjectNamespace,
  type DurableObjectState,
} from '../adapters/workers/durable-nonces';
export type { AuthenticatedRequest, HandlerResult } from '../adapters/workers/handler';
export type {
  ExecutionContext,
  ProtectedModule,
  WithAmesh,
  WorkerModule,
} from '../adapters/workers/with-amesh';
export { proveResponse } from '../core/answers/prove-response';
export { hasScope, type ScopedRequest } from '../core/devices/has-scope';
export type { AmeshScopes, Scope } from '../core/devices/scopes';
export { streamUnverifiedBody } from '../core/verify/options';
export type { ServerOptions, ServerSettings } from '../machine/default/verifier-source';
export { createServerVerifier, withAmesh } from '../machine/default/workers';
export type { WorkerOptions } from '../machine/worker';
export type { KvNamespace } from '../storage/kv';
