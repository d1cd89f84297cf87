import { createWithAmesh, type WithAmesh } from '../../adapters/workers/with-amesh';
import type { Verifier } from '../../core/verify/verify';
import { type Bindings, createVerifierWithoutFiles } from '../worker';
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
 * @param env variables and bindings for what the options leave out. Where it is given, no folder of this machine is read:
 *   the list is that of the options or of `AMESH_ALLOW_LIST`. Default: `process.env`, and the folder where no list is given
 * @throws TypeError for a wrong option or variable, and for a missing list or owner
 */
export function createServerVerifier(options: ServerOptions = {}, env?: object): Verifier {
  if (env === undefined) return toVerifierSource(options)(undefined);
  return createVerifierWithoutFiles(options, env as Bindings);
}
