/** The relay that is used where nothing else is said. */
export const DEFAULT_RELAY_URL = 'wss://relay.authmesh.dev/ws';

/**
 * A relay's address in one form.
 *
 * @param text `ws://` or `wss://`; the path defaults to `/ws`
 * @throws TypeError where it is none
 */
export function toRelayUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text.trim());
  } catch {
    throw new TypeError(`A relay is a URL such as wss://relay.example.com/ws.${suggestion(text)}`);
  }
  if (url.protocol !== 'wss:' && url.protocol !== 'ws:')
    throw new TypeError(`The URL of a relay begins with wss:// or ws://.${suggestion(text)}`);
  if (url.username !== '' || url.password !== '')
    throw new TypeError('The URL of a relay has no user name or password.');
  if (url.search !== '' || url.hash !== '') throw new TypeError('The URL of a relay has neither ? nor #.');
  if (url.pathname === '/') url.pathname = '/ws';
  return url.href;
}

/** What was meant by a host without a scheme, or with that of the Web; a port of one's own mostly speaks no TLS. */
function suggestion(text: string): string {
  const [, web, host, port = ''] =
    /^(?:(https?):\/\/)?([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?(?:\/(?!\/)[\w./-]{0,100})?$/i.exec(
      text.trim(),
    ) ?? [];
  if (host === undefined) return '';
  const isPlain = web === undefined ? port !== '' && port !== ':443' : web.toLowerCase() === 'http';
  return ` Perhaps: ${isPlain ? 'ws' : 'wss'}://${host}${port}/ws`;
}
