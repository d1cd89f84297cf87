import { isLoopback, portOf } from '@authmesh/sdk/admin/list';

/** Addresses and names for which there are no public certificates. */
const PRIVATE =
  /^(?:10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|169\.254\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|\[f[cde])|^[^.[]+$|\.(?:local|lan|internal|home\.arpa|test|localhost)$/;

/**
 * The probable URL of a host. The scheme is not known: a private name with its own port is assumed to use plain http, and
 * everything else https. `amesh doctor` reports if that is wrong.
 *
 * @param host an authority in normal form
 */
export function likelyUrl(host: string): string {
  const port = portOf(host);
  const name = port === null ? host : host.slice(0, -`:${port}`.length);
  const isPlain = isLoopback(host) || (PRIVATE.test(name) && port !== 443 && port !== 8443);
  return `${isPlain ? 'http' : 'https'}://${host}/`;
}
