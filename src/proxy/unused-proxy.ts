import { routeTo } from './route';

/** Error codes of `fetch` if it did not reach the server at all. */
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
 * Whether the global `fetch` uses the environment's proxy: on Bun and Deno it does; on Node with `NODE_USE_ENV_PROXY=1`, if
 * that version supports it, or with a global undici dispatcher that does.
 */
export function fetchUsesProxy(): boolean {
  if ('Bun' in globalThis || 'Deno' in globalThis) return true;
  const dispatcher = (globalThis as Record<symbol, unknown>)[DISPATCHER];
  return dispatcher !== undefined && (dispatcher as object).constructor.name !== 'Agent';
}

/**
 * The log line for a failed global `fetch`, if the environment sets a proxy that it does not use.
 *
 * @param error what `fetch` has thrown: an error, or the reason of a signal, which may be anything
 * @returns null if that is not the reason
 */
export function unusedProxy(
  url: URL,
  error: unknown,
  env: Readonly<Record<string, string | undefined>>,
): string | null {
  const { cause } = (error ?? {}) as { cause?: { code?: unknown } };
  if (!UNREACHED.has(cause?.code) || fetchUsesProxy()) return null;
  try {
    const route = routeTo(url, env);
    if (route.by !== 'proxy') return null;
    const { variable, shown } = route.proxy;
    return `A request did not reach its server (${cause?.code}). ${variable} sets the proxy ${shown}, but the global fetch does not use it. Give createAmesh() a fetch that does, or set NODE_USE_ENV_PROXY=1 on Node 24: see docs/corporate-proxy.md.`;
  } catch (wrong) {
    return `A request did not reach its server (${cause?.code}). ${(wrong as Error).message} The global fetch does not use that variable anyway: see docs/corporate-proxy.md.`;
  }
}
