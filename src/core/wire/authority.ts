// host[:port]; a host is a name, an IPv4 address or a bracketed IPv6 address, which isInUrls() looks at. No userinfo, no
// path, no empty port, and between two dots of a name there is something.
const AUTHORITY = /^(\[[0-9a-f:.]{2,45}\]|[\w-]{1,63}(?:\.[\w-]{1,63})*\.?)(?::([1-9]\d{0,4}))?$/;

/**
 * An authority in the one form in which amesh compares and signs it: lower case, `:80` and `:443` dropped whatever
 * the scheme, since behind a TLS proxy the server cannot know it.
 *
 * @returns null where the text is not host[:port]
 */
export function normalizeAuthority(text: string): string | null {
  const match = AUTHORITY.exec(text.toLowerCase());
  if (match === null) return null;
  const [, host, port] = match;
  if (Number(port) > 65535 || !isInUrls(host as string)) return null;
  return port === undefined || port === '80' || port === '443' ? (host as string) : `${host}:${port}`;
}

/**
 * Whether a URL names an address so: `1.2.3` is 1.2.0.3 there, `[....]` nothing, and each has one text only. Names are
 * not asked about: runtimes differ in which `xn--` they take, and a URL is dear for each request.
 */
function isInUrls(host: string): boolean {
  const url = `http://${host}`;
  return !/\b(\d+|0x[\da-f]*)\.?$|\[/.test(host) || (URL.canParse(url) && new URL(url).host === host);
}

/** Whether a normalised authority names this machine itself: localhost, *.localhost, 127.0.0.0/8 or [::1]. */
export function isLoopback(authority: string): boolean {
  const host = authority.replace(/:\d+$/, '');
  return /^((.+\.)?localhost|127\.[\d.]+|\[::1\])$/.test(host);
}

/** The port of a normalised authority; null stands for 80 or 443. */
export function portOf(authority: string): number | null {
  const match = /:(\d+)$/.exec(authority); // a bracket ends an IPv6 address
  return match === null ? null : Number(match[1]);
}

/**
 * Host names as a user gives them, in an array or as one text with commas, in normal form and each once.
 *
 * @throws TypeError naming the first that is not host[:port]
 */
export function parseHosts(hosts: string | readonly string[]): string[] {
  const list = typeof hosts === 'string' ? hosts.split(',') : hosts;
  if (!Array.isArray(list)) throw new TypeError('hosts is an array of host[:port], or one text with commas.');
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
