// host[:port]: a name, an IPv4 address or an IPv6 address in brackets, which isInUrls() checks further. No userinfo, path,
// empty port or empty label.
const AUTHORITY = /^(\[[0-9a-f:.]{2,45}\]|[\w-]{1,63}(?:\.[\w-]{1,63})*\.?)(?::([1-9]\d{0,4}))?$/;

/**
 * Converts an authority to the form that amesh compares and signs: lower case, without `:80` and `:443`. It drops both
 * ports for either scheme, since a server behind a TLS proxy does not know the scheme.
 *
 * @returns null if the text is not host[:port]
 */
export function normalizeAuthority(text: string): string | null {
  if (text !== lastText) [lastText, lastNormal] = [text, normalOf(text)];
  return lastNormal;
}

/** A server is mostly called by one name, and a client mostly calls one. */
let [lastText, lastNormal]: [string, string | null] = ['', null];

function normalOf(text: string): string | null {
  const match = AUTHORITY.exec(text.toLowerCase());
  if (match === null) return null;
  const [, host, port] = match;
  if (Number(port) > 65535 || !isInUrls(host as string)) return null;
  return port === undefined || port === '80' || port === '443' ? (host as string) : `${host}:${port}`;
}

/**
 * Whether an address has the spelling that URLs have: there `1.2.3` becomes 1.2.0.3, `[....]` is invalid, and each address has one
 * spelling. Names are not checked: runtimes differ in which `xn--` they accept, and parsing a URL per request is slow.
 */
function isInUrls(host: string): boolean {
  if (!/\b(\d+|0x[\da-f]*)\.?$|\[/.test(host)) return true;
  const url = `http://${host}`;
  return URL.canParse(url) && new URL(url).host === host;
}

/** Whether a normalised authority is a loopback name or address: localhost, *.localhost, 127.0.0.0/8 or [::1]. */
export function isLoopback(authority: string): boolean {
  const host = authority.replace(/:\d+$/, '');
  return /^((.+\.)?localhost|127\.[\d.]+|\[::1\])$/.test(host);
}

/** The port of a normalised authority; null for 80 or 443. */
export function portOf(authority: string): number | null {
  const match = /:(\d+)$/.exec(authority); // a bracket ends an IPv6 address
  return match === null ? null : Number(match[1]);
}

/**
 * Parses hosts from an array, or from text separated by commas. Returns them in normal form, without duplicates.
 *
 * @throws TypeError with the first entry that is not host[:port]
 */
export function parseHosts(hosts: string | readonly string[]): string[] {
  const list = typeof hosts === 'string' ? hosts.split(',') : hosts;
  if (!Array.isArray(list))
    throw new TypeError('hosts must be an array of host[:port], or text separated by commas.');
  const parsed = new Set<string>();
  for (const entry of list) {
    const text = typeof entry === 'string' ? entry.trim() : '';
    if (text === '' && typeof hosts === 'string') continue;
    const authority = normalizeAuthority(text);
    if (authority === null) {
      throw new TypeError(
        `${JSON.stringify(entry)} is not a host. Give host or host:port, without scheme or path.`,
      );
    }
    parsed.add(authority);
  }
  return [...parsed];
}
