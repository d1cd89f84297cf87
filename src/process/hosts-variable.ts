import { parseHosts } from '../core/wire/authority';
import { readVariable, VariableError } from './environment';

/**
 * The hosts in AMESH_HOSTS; undefined if there are none.
 *
 * @throws VariableError for an entry that is not a host
 */
export function hostsOf(env: { readonly AMESH_HOSTS?: unknown }): string[] | undefined {
  const text = readVariable({ AMESH_HOSTS: String(env.AMESH_HOSTS ?? '') }, 'AMESH_HOSTS', 'unset');
  try {
    const hosts = parseHosts(text ?? '');
    return hosts.length === 0 ? undefined : hosts;
  } catch (error) {
    throw new VariableError('AMESH_HOSTS', `is wrong: ${(error as Error).message}`);
  }
}
