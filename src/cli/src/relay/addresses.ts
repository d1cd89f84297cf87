import { networkInterfaces } from 'node:os';

/**
 * Where other machines of this network may find this one, as hosts of URLs: its IPv4 addresses; where it has none its IPv6
 * addresses, in brackets; localhost where it has neither.
 */
export function ownAddresses(): string[] {
  const outward = interfaces().filter(({ internal }) => !internal);
  const v4 = outward.filter(({ family }) => family === 'IPv4').map(({ address }) => address);
  // One of a link alone needs a zone, which no URL can hold.
  const v6 = outward
    .filter(({ family, address }) => family === 'IPv6' && !/^fe[89ab]/i.test(address))
    .map(({ address }) => `[${address}]`);
  const addresses = v4.length > 0 ? v4 : v6;
  return addresses.length === 0 ? ['localhost'] : [...new Set(addresses)];
}

/** The loopback address that this machine has, as the host of a URL: 127.0.0.1, or [::1] where there is IPv6 alone. */
export function loopbackAddress(): string {
  const inward = interfaces().filter(({ internal }) => internal);
  const isV6Alone =
    inward.some(({ family }) => family === 'IPv6') && !inward.some(({ family }) => family === 'IPv4');
  return isV6Alone ? '[::1]' : '127.0.0.1';
}

function interfaces() {
  return Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
}
