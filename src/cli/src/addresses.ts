import { networkInterfaces } from 'node:os';

/** Where other machines of this network may find this one: its IPv4 addresses; localhost where it has none. */
export function ownAddresses(): string[] {
  const addresses = Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address);
  return addresses.length === 0 ? ['localhost'] : [...new Set(addresses)];
}
