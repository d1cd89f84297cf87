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
    throw new TypeError('A relay is a URL such as wss://relay.example.com/ws.');
  }
  if (url.protocol !== 'wss:' && url.protocol !== 'ws:')
    throw new TypeError('The URL of a relay begins with wss:// or ws://.');
  if (url.username !== '' || url.password !== '')
    throw new TypeError('The URL of a relay has no user name or password.');
  if (url.search !== '' || url.hash !== '') throw new TypeError('The URL of a relay has neither ? nor #.');
  if (url.pathname === '/') url.pathname = '/ws';
  return url.href;
}
