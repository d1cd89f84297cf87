import { isIP } from 'node:net';

/** The key that limits count by: an IPv4 address, or the /64 of an IPv6 address, since one home has a whole /64. */
export function toLimitKey(address: string): string {
  if (isIP(address) !== 6) return address;
  return `${groupsOf(address).slice(0, 4).join(':')}::/64`;
}

/**
 * The networks of an address, the widest first, and the address itself: /24 for IPv4, /48 and /56 for IPv6. One customer may
 * get a network of such a size, and can use all its addresses. No network smaller than a /24 or a /48 is routed.
 *
 * @param key an address as {@link toLimitKey} gives it
 */
export function networksOf(key: string): string[] {
  const [, site, subnet] = /^((?:[0-9a-f]+:){3})([0-9a-f]+)::\/64$/.exec(key) ?? [];
  if (site !== undefined) {
    const customer = (Number.parseInt(subnet as string, 16) >> 8).toString(16);
    return [`${site}:/48`, `${site}${customer}00::/56`, key];
  }
  return isIP(key) === 4 ? [key.replace(/\d+$/, '0/24'), key] : [key];
}

/** The eight groups of an IPv6 address, without leading zeros. */
export function groupsOf(address: string): string[] {
  // URL accepts every spelling of an address, and always writes the same one.
  const [left = '', right] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const before = left === '' ? [] : left.split(':');
  const after = right === undefined || right === '' ? [] : right.split(':');
  return [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
}
