import { BlockList, isIP, isIPv6 } from 'node:net';

/** The port of a URL, even if it is the default port. */
export function portOfUrl({ protocol, port }: URL): number {
  if (port !== '') return Number(port);
  return protocol === 'https:' || protocol === 'wss:' ? 443 : 80;
}

/** Whether an entry matches a URL. */
type Entry = (hostname: string, port: number) => boolean;

/**
 * Whether NO_PROXY contains a URL, by curl's rules: a host matches itself and all names below it, with or without a
 * leading dot or `*.`; `*` matches everything; a port limits an entry to that port; `10.0.0.0/8` is a network.
 *
 * @param list entries separated by commas or spaces
 */
export function isExempt(url: URL, list: string): boolean {
  const hostname = withoutDot(url.hostname);
  const port = portOfUrl(url);
  return entriesOf(list).some((text) => toEntry(text)?.(hostname, port) === true);
}

/** Entries that no host can match, such as a URL. */
export function uselessEntries(list: string): string[] {
  return entriesOf(list).filter((text) => toEntry(text) === null);
}

function entriesOf(list: string): string[] {
  return list.split(/[\s,]+/).filter((text) => text !== '');
}

function toEntry(text: string): Entry | null {
  if (text === '*') return () => true;
  if (text.includes('/')) return toNetwork(text);
  if (isIPv6(text)) return toHost(`[${text}]`, undefined);
  const [, host, port] = /^(?:\*?\.)?(\[[^\]]*\]|[^:]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  return host === undefined ? null : toHost(host, port);
}

function toHost(text: string, port: string | undefined): Entry | null {
  if (/[?#@\\*]/.test(text) || !URL.canParse(`http://${text}`)) return null;
  const host = withoutDot(new URL(`http://${text}`).hostname);
  return (hostname, seen) =>
    (port === undefined || Number(port) === seen) && (hostname === host || hostname.endsWith(`.${host}`));
}

/** Matches addresses only; names are not resolved. */
function toNetwork(text: string): Entry | null {
  const [, address = '', bits] = /^\[?([\da-f.:]+)\]?\/(\d{1,3})$/i.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0 || Number(bits) > (version === 4 ? 32 : 128)) return null;
  const network = new BlockList();
  network.addSubnet(address, Number(bits), version === 4 ? 'ipv4' : 'ipv6');
  return (hostname) => {
    const seen = hostname.replace(/^\[|\]$/g, '');
    const seenVersion = isIP(seen);
    return seenVersion !== 0 && network.check(seen, seenVersion === 4 ? 'ipv4' : 'ipv6');
  };
}

function withoutDot(hostname: string): string {
  return hostname.replace(/\.$/, '');
}
