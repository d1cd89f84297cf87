import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isLoopback } from '@authmesh/sdk/admin/list';

/**
 * The addresses at which other machines on this network may reach this one, as hosts of URLs: its IPv4 addresses; if it has none,
 * its IPv6 addresses in brackets; otherwise localhost.
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

/**
 * The URLs under which other machines reach a relay that has a loopback name here. A relay that listens only on loopback has none.
 */
export async function urlsElsewhere(relay: string): Promise<string[]> {
  const url = new URL(relay);
  if (!isLoopback(url.host)) return [];
  const port = Number(url.port) || (url.protocol === 'wss:' ? 443 : 80);
  const addresses = ownAddresses().filter((address) => address !== 'localhost');
  const reached = await Promise.all(addresses.map((address) => accepts(address, port)));
  return addresses
    .filter((_, i) => reached[i])
    .map((address) => Object.assign(new URL(relay), { hostname: address }).href);
}

const CONNECT_MS = 1000;

/** Whether something listens at this address and port. */
function accepts(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address.replace(/^\[|\]$/g, ''), port, timeout: CONNECT_MS });
    let isReached = false;
    socket.once('connect', () => {
      isReached = true;
      socket.destroy();
    });
    socket.once('timeout', () => socket.destroy());
    socket.once('error', () => {}); // 'close' follows
    socket.once('close', () => resolve(isReached));
  });
}

function interfaces() {
  return Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
}
