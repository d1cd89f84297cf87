/** The default relay. */
export const DEFAULT_RELAY_URL = 'wss://relay.authmesh.dev/ws';

/**
 * Normalises the URL of a relay.
 *
 * @param text `ws://` or `wss://`; the path defaults to `/ws`
 * @throws TypeError if it is not a relay's URL
 */
export function toRelayUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text.trim());
  } catch {
    throw new TypeError(`A relay must be a URL such as wss://relay.example.com/ws.${suggestion(text)}`);
  }
  if (url.protocol !== 'wss:' && url.protocol !== 'ws:')
    throw new TypeError(`The URL of a relay must begin with wss:// or ws://.${suggestion(text)}`);
  if (url.username !== '' || url.password !== '')
    throw new TypeError('The URL of a relay must not contain a user name or password.');
  if (url.search !== '' || url.hash !== '')
    throw new TypeError('The URL of a relay must not contain ? or #.');
  if (url.pathname === '/') url.pathname = '/ws';
  return url.href;
}

/** A suggestion for a host without a scheme, or with http(s). A host with its own port usually does not use TLS. */
function suggestion(text: string): string {
  const [, web, host, port = ''] =
    /^(?:(https?):\/\/)?([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?(?:\/(?!\/)[\w./-]{0,100})?$/i.exec(
      text.trim(),
    ) ?? [];
  if (host === undefined) return '';
  const isPlain = web === undefined ? port !== '' && port !== ':443' : web.toLowerCase() === 'http';
  return ` Perhaps: ${isPlain ? 'ws' : 'wss'}://${host}${port}/ws`;
}
