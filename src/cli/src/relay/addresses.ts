import { networkInterfaces } from 'node:os';

/**
 * The addresses at which other machines on this network may reach this one, as hosts of URLs: its IPv4 addresses, or else
 * its IPv6 addresses in brackets, or else localhost.
 */
export function ownAddresses(): string[] {
  const outward = interfaces().filter(({ internal }) => !internal);
  const v4 = outward.filter(({ family }) => family === 'IPv4').map(({ address }) => address);
  // A link-local address needs a zone, which is not valid in a URL.
  const v6 = outward
    .filter(({ family, address }) => family === 'IPv6' && !/^fe[89ab]/i.test(address))
    .map(({ address }) => `[${address}]`);
  const addresses = v4.length > 0 ? v4 : v6;
  return addresses.length === 0 ? ['localhost'] : [...new Set(addresses)];
}

/** The loopback address of this machine as the host of a URL: 127.0.0.1, or [::1] if there is only IPv6. */
export function loopbackAddress(): string {
  const inward = interfaces().filter(({ internal }) => internal);
  const isV6Alone =
    inward.some(({ family }) => family === 'IPv6') && !inward.some(({ family }) => family === 'IPv4');
  return isV6Alone ? '[::1]' : '127.0.0.1';
}

function interfaces() {
  return Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
}
