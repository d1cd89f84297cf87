import type { Client } from '@authmesh/sdk/core';
import { type Finding, failed, warning } from './finding';
import { callUnsigned } from './unsigned';

const MEND =
  'Let the proxy pass paths and queries on as they come. Apache: ProxyPass … nocanon, AllowEncodedSlashes NoDecode, MergeSlashes Off. nginx: proxy_pass without a path. The log of the server says what was changed: see invalid_signature in docs/errors.md.';

/**
 * For a server that has refused the signature: whether it takes one for a plain path above this one. Then it knows this
 * machine, and something in front of it rewrites what is not plain.
 *
 * @param isRefused whether the last request was refused
 */
export async function checkPlainPath(
  url: URL,
  { fetch }: Client,
  isRefused: () => boolean,
  signal: AbortSignal,
): Promise<Finding | null> {
  const plain = plainOf(url);
  if (plain === null) return null;
  const response = await fetch(plain, { signal, redirect: 'manual' });
  await response.body?.cancel();
  if (isRefused() || !(await callUnsigned(plain, signal))?.isRefusedByAmesh) return null;
  const what = plain.pathname === url.pathname ? 'the query' : 'the path';
  return failed(
    `${url.origin}${url.pathname}: the server lets this machine in at ${plain.pathname}, and does not accept the signature for this URL. Something in front of it rewrites ${what}.`,
    MEND,
  );
}

/** Without query, and cut off before the first thing that proxies like to write anew; null for a URL that is plain. */
function plainOf({ origin, pathname, search }: URL): URL | null {
  const odd = pathname.search(/[^\w./-]|\/\//);
  if (odd === -1) return search === '' ? null : new URL(pathname, origin);
  return new URL(pathname.slice(0, pathname.lastIndexOf('/', odd) + 1) || '/', origin);
}

/** A 404 that may be that of a proxy, which has not asked the server at all; null for any other answer. */
export function escapedSlash(url: URL, shown: string, status: number): Finding | null {
  if (status !== 404 || !/%2f/i.test(url.pathname)) return null;
  return warning(
    `${shown} answers 404 to everybody. Apache does so by itself for each path with %2F, and asks no server.`,
    'In Apache: AllowEncodedSlashes NoDecode, and nocanon at ProxyPass. See docs/production.md.',
  );
}
