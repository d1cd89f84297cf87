import { createWithAmesh, type WithAmesh } from '../../adapters/workers/with-amesh';
import type { Verifier } from '../../core/verify/verify';
import { type Bindings, createVerifierWithoutFiles } from '../worker';
import { type ServerOptions, type ServerSettings, takeAnswerKey, toVerifierSource } from './verifier-source';

/**
 * Protects a `fetch` handler: the default export of a Worker, or a function for Bun.serve, Deno.serve or Next.js. The
 * handler receives the request with its caller as `request.authMesh`, and can read the body.
 *
 * @throws TypeError for a wrong option
 * @see docs/workers.md
 */
export const withAmesh: WithAmesh<ServerSettings> = createWithAmesh(toVerifierSource);

/**
 * The verifier behind {@link withAmesh}, for servers whose handlers have another form.
 *
 * @param env variables and bindings for what the options leave out. If it is given, the folder of this machine is not used:
 *   the list comes from the options or `AMESH_ALLOW_LIST`. Default: `process.env`, and the folder if there is no list
 * @throws TypeError for a wrong option or variable, and for a missing list or owner
 */
export function createServerVerifier(options: ServerOptions = {}, env?: object): Verifier {
  if (env === undefined) return toVerifierSource(options)(undefined);
  return createVerifierWithoutFiles(options, env as Bindings, takeAnswerKey(env as Bindings));
}
