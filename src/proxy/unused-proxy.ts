import { routeTo } from './route';

/** What `fetch` says where it has not reached the other side at all. */
const UNREACHED: ReadonlySet<unknown> = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ETIMEDOUT',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

const DISPATCHER = Symbol.for('undici.globalDispatcher.1');

/**
 * Whether the global `fetch` goes through the proxy of the environment: on Bun and Deno it does, and on Node with
 * `NODE_USE_ENV_PROXY=1` where that Node knows it, or with a global dispatcher of undici that does.
 */
export function fetchUsesProxy(): boolean {
  if ('Bun' in globalThis || 'Deno' in globalThis) return true;
  const dispatcher = (globalThis as Record<symbol, unknown>)[DISPATCHER];
  return dispatcher !== undefined && (dispatcher as object).constructor.name !== 'Agent';
}

/**
 * What to say where the global `fetch` has failed and a proxy is named that it does not use.
 *
 * @param error what it has thrown
 * @returns null where that is not why
 */
export function unusedProxy(
  url: URL,
  error: unknown,
  env: Readonly<Record<string, string | undefined>>,
): string | null {
  const { cause } = error as { cause?: { code?: unknown } };
  if (!UNREACHED.has(cause?.code) || fetchUsesProxy()) return null;
  try {
    const route = routeTo(url, env);
    if (route.by !== 'proxy') return null;
    const { variable, shown } = route.proxy;
    return `A request did not reach its server (${cause?.code}). ${variable} names the proxy ${shown}, and the global fetch does not use it. Give createAmesh() a fetch that does, or set NODE_USE_ENV_PROXY=1 on Node 24: see docs/corporate-proxy.md.`;
  } catch (wrong) {
    return `A request did not reach its server (${cause?.code}). ${(wrong as Error).message} The global fetch does not use it either way: see docs/corporate-proxy.md.`;
  }
}
