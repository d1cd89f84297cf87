import { parseHosts } from './core/authority';

/**
 * The hosts that AMESH_HOSTS names; undefined where it names none.
 *
 * @throws TypeError for what is no host
 */
export function hostsOf(env: { readonly AMESH_HOSTS?: unknown }): string[] | undefined {
  try {
    const hosts = parseHosts(String(env.AMESH_HOSTS ?? ''));
    return hosts.length === 0 ? undefined : hosts;
  } catch (error) {
    throw new TypeError(`AMESH_HOSTS is wrong: ${(error as Error).message}`);
  }
}
