import { createWithAmesh, processEnv, type WithAmesh } from '../../adapters/workers/with-amesh';
import type { Verifier } from '../../core/verify/verify';
import type { ServerOptions, ServerSettings } from './verifier-source';
import { toVerifierSource } from './verifier-source.web';

/** As in `workers.ts`, for runtimes without files. */
export const withAmesh: WithAmesh<ServerSettings> = createWithAmesh(toVerifierSource);

/** As in `workers.ts`, for runtimes without files. */
export const createServerVerifier = (options: ServerOptions = {}, env: unknown = processEnv()): Verifier =>
  toVerifierSource(options)(env);
