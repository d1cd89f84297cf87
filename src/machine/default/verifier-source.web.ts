import type { Verifier } from '../../core/verify/verify';
import { assertWorkerOptions, type Bindings, createVerifierWithoutFiles } from '../worker';
import type { ServerSettings, VerifierSource } from './verifier-source';

/**
 * On a runtime without files: options and bindings contain everything. The bindings arrive with the first request, so a fault in
 * them is noticed only then.
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
