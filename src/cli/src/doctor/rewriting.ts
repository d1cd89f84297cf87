import { callUnsigned } from './calls';
import { type Finding, failed, warning } from './finding';

const MEND =
  "Make the proxy forward paths and queries unchanged. Apache: ProxyPass … nocanon, AllowEncodedSlashes NoDecode, MergeSlashes Off. nginx: proxy_pass without a path. The server's log says what was changed: see invalid_signature in docs/errors.md.";

/**
 * For a server that refused the signature: checks whether it accepts a signature for a plain path above this one. If it does, it
 * knows this machine, and something in between rewrites the URL.
 *
 * @param isAccepted whether the server accepts a signed GET of a URL
 */
export async function checkPlainPath(
  url: URL,
  isAccepted: (url: URL) => Promise<boolean>,
  signal: AbortSignal,
): Promise<Finding | null> {
  const plain = plainOf(url);
  if (plain === null) return null;
  if (!(await isAccepted(plain)) || !(await callUnsigned(plain, signal))?.isRefusedByAmesh) return null;
  const what = plain.pathname === url.pathname ? 'the query' : 'the path';
  return failed(
    `${url.origin}${url.pathname}: the server accepts this machine's requests to ${plain.pathname}, but not the signature for this URL. Something in between rewrites ${what}.`,
    MEND,
  );
}

/** The URL without its query, cut before the first part that proxies may rewrite; null for a plain URL. */
function plainOf({ origin, pathname, search }: URL): URL | null {
  const odd = pathname.search(/[^\w./-]|\/\//);
  if (odd === -1) return search === '' ? null : new URL(pathname, origin);
  return new URL(pathname.slice(0, pathname.lastIndexOf('/', odd) + 1) || '/', origin);
}

/** A 404 that may come from a proxy that did not ask the server; null for any other response. */
export function escapedSlash(url: URL, shown: string, status: number): Finding | null {
  if (status !== 404 || !/%2f/i.test(url.pathname)) return null;
  return warning(
    `${shown} responds 404 to everybody. Apache itself does so for each path with %2F, without asking the server.`,
    'In Apache: AllowEncodedSlashes NoDecode, and nocanon at ProxyPass. See docs/production.md.',
  );
}
