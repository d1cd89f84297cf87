import type { Verifier } from '../../core/verify/verify';
import { assertWorkerOptions, type Bindings, createVerifierWithoutFiles } from '../worker';
import type { ServerSettings, VerifierSource } from './verifier-source';

/**
 * Where there are no files, options and bindings say everything. The bindings come with the first request, and with
 * them whatever is wrong about them.
 *
 * @throws TypeError for a wrong option
 */
export function toVerifierSource(settings: ServerSettings = {}): VerifierSource {
  if (typeof settings !== 'function') assertWorkerOptions(settings);
  let verifier: Verifier | undefined;
  return (env) => {
    const bindings = (env ?? {}) as Bindings;
    verifier ??= createVerifierWithoutFiles(
      typeof settings === 'function' ? settings(bindings) : settings,
      bindings,
    );
    return verifier;
  };
}
