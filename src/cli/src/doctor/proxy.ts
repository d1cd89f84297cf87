import {
  fetchUsesProxy,
  proxyVariables,
  type Route,
  readNoProxy,
  routeTo,
  uselessEntries,
} from '@authmesh/sdk/admin';
import { type Finding, ok, skipped, toFinding, warning } from './finding';

const RECIPE =
  'Give createAmesh() a fetch that does, or set NODE_USE_ENV_PROXY=1 on Node 24: see docs/corporate-proxy.md.';

/**
 * Reports through which proxies the relay and a server are reached.
 *
 * @param relay the URL of the relay; null if unknown
 * @param target the given server; null if none was given
 */
export async function checkProxy(relay: URL | null, target: URL | null): Promise<Finding> {
  const { env } = process;
  const variables = proxyVariables(env);
  if (variables.length === 0)
    return skipped('HTTPS_PROXY, HTTP_PROXY and ALL_PROXY are not set: all connections are direct.');
  const ways: string[] = [];
  let isUnused = false;
  try {
    if (relay !== null) ways.push(`The relay ${wayText(routeTo(relay, env))}.`);
    if (target !== null) {
      const route = routeTo(target, env);
      ways.push(`${target.host} ${wayText(route)}.`);
      isUnused = route.by === 'proxy' && !fetchUsesProxy();
    }
    const useless = uselessEntries(readNoProxy(env)?.value ?? '');
    if (useless.length > 0) {
      const entry = JSON.stringify(useless[0]);
      return warning(
        `${ways.join(' ')} In ${readNoProxy(env)?.variable} no host matches ${entry}.`,
        'Separate hosts with commas, such as relay.example.com,.internal,10.0.0.0/8: no scheme, no path.',
      );
    }
  } catch (error) {
    return toFinding(error);
  }
  if (isUnused) {
    return warning(
      `${ways.join(' ')} But amesh.fetch uses the global fetch, which does not use the proxy here.`,
      RECIPE,
    );
  }
  return ok(ways.join(' '));
}

function wayText(route: Route): string {
  if (route.by === 'proxy')
    return `is called through the proxy ${route.proxy.shown} (${route.proxy.variable})`;
  if (route.by === 'exempt') return `is called without a proxy (${route.variable})`;
  return route.by === 'loopback' ? 'is called without a proxy (loopback)' : 'is called without a proxy';
}
