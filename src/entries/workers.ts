import { createWithAmesh, processEnv, type WithAmesh } from '../adapters/workers/with-amesh';
import type { Verifier } from '../core/verify/verify';
import { type ServerOptions, type ServerSettings, toVerifierSource } from '../machine/verifier-source';

/**
 * Protects a `fetch` handler: the default export of a Worker, or a function as Bun.serve, Deno.serve and Next.js take
 * it. The handler gets the request with its caller as `request.authMesh`, and with a body that can be read.
 *
 * @throws TypeError for a wrong option
 * @see docs/workers.md
 */
export const withAmesh: WithAmesh<ServerSettings> = createWithAmesh(toVerifierSource);

/**
 * The verifier behind {@link withAmesh}, for servers whose handlers are of another form.
 *
 * @param env where to look for what the options leave out; default `process.env`
 * @throws TypeError for a wrong option or variable, and for a missing list or owner
 */
export function createVerifier(options: ServerOptions = {}, env: unknown = processEnv()): Verifier {
  return toVerifierSource(options)(env);
}

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
export { streamUnverifiedBody } from '../core/verify/options';
export type { ServerOptions, ServerSettings } from '../machine/verifier-source';
export type { WorkerOptions } from '../machine/worker';
export type { KvNamespace } from '../storage/kv';
