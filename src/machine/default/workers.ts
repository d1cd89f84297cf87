import { createWithAmesh, processEnv, type WithAmesh } from '../../adapters/workers/with-amesh';
import type { Verifier } from '../../core/verify/verify';
import { type ServerOptions, type ServerSettings, toVerifierSource } from './verifier-source';

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
