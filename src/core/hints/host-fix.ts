import type { Fix } from '../errors/define-codes';
import { isLoopback } from '../wire/authority';
import type { RequestView } from '../wire/view';

/**
 * How to add a host. The fix names the complete new list, since the new host alone would lock out the others.
 *
 * @param configured the hosts of `verify()` or the environment; undefined if the hosts of the list apply
 * @param listed the hosts of the sealed list
 * @param seen the host of the request
 */
export function hostFix(
  configured: ReadonlySet<string> | undefined,
  listed: readonly string[],
  { localPort }: RequestView,
  seen: string,
): Fix | undefined {
  const own = [...(configured ?? listed)];
  // If a proxy put this host in, adding it would only lead to `invalid_signature`.
  const proxied = own[0] ? `If a proxy put it in: verify({ authority: '${own[0]}' }). ` : '';
  const loopback = isLoopback(seen);
  const local = localPort && !loopback ? [`localhost:${localPort}`] : [];
  const fix = `${proxied}If callers use it`;
  if (configured) return { fix: `${fix}: add it to verify({ hosts }) or AMESH_HOSTS, now ${own}` };
  if (own[0] || localPort || !loopback)
    return { fix, command: ['amesh', 'config', 'hosts', `${[seen, ...(own[0] ? own : local)]}`] };
  return { fix: `${fix}: amesh config hosts ${seen}, or AMESH_HOSTS, or pair: the port is unknown` };
}
