import type { IncomingMessage } from 'node:http';
import { BlockList, isIP, type Socket } from 'node:net';
import { groupsOf } from '../limits/address';

/** The trusted proxies in front of the relay, whose X-Forwarded-For is used: their number, or their networks. */
export type TrustedProxies = number | readonly string[];

/** Finds the address of the client that sent a request. */
export type ClientAddress = (request: Pick<IncomingMessage, 'socket' | 'headers'>) => string;

/**
 * Reads `AMESH_TRUSTED_PROXIES`: a number of proxies (`1`), or networks (`10.0.0.0/8, fd00::/8, 127.0.0.1`). If it is not
 * set or empty, no proxy is trusted.
 *
 * @throws TypeError for anything else
 */
export function readTrustedProxies(text: string | undefined): TrustedProxies | undefined {
  const trimmed = text?.trim() ?? '';
  if (trimmed === '') return undefined;
  const trusted = /^\d+$/.test(trimmed) ? Number(trimmed) : trimmed.split(',').map((part) => part.trim());
  try {
    createClientAddress(trusted);
  } catch (error) {
    throw new TypeError(`AMESH_TRUSTED_PROXIES: ${(error as Error).message}`);
  }
  return trusted;
}

/**
 * Finds client addresses with the help of the trusted proxies. X-Forwarded-For is read from the right, one proxy at a
 * time. Everything to the left of the first untrusted address is ignored, since the client may have written it.
 *
 * @param trusted undefined: X-Forwarded-For is ignored
 * @throws TypeError for text that is not a network, a network of all addresses, or a number outside 1 to 10
 */
export function createClientAddress(trusted: TrustedProxies | undefined): ClientAddress {
  const isTrusted = trusted === undefined ? () => false : toTrust(trusted);
  return ({ socket, headers }) => {
    const forwarded = headers['x-forwarded-for'];
    const list = trusted === undefined || forwarded === undefined ? [] : String(forwarded).split(',');
    let address = peerOf(socket);
    for (let hop = 0; isTrusted(address, hop); hop++) {
      const next = list.pop();
      const before = next === undefined ? null : toPlain(next);
      if (before === null) break;
      address = before;
    }
    return address;
  };
}

/**
 * Returns a function that says whether a connection comes from a trusted proxy, which may carry clients of any number of addresses.
 */
export function createProxyTest(
  trusted: TrustedProxies | undefined,
): (socket: Pick<Socket, 'remoteAddress'>) => boolean {
  if (trusted === undefined) return () => false;
  const isTrusted = toTrust(trusted);
  return (socket) => isTrusted(peerOf(socket), 0);
}

function toTrust(trusted: TrustedProxies): (address: string, hop: number) => boolean {
  if (typeof trusted === 'number') {
    if (!Number.isInteger(trusted) || trusted < 1 || trusted > 10) {
      throw new TypeError('The number of trusted proxies must be a whole number from 1 to 10.');
    }
    return (_, hop) => hop < trusted;
  }
  const networks = new BlockList();
  for (const text of trusted) addNetwork(networks, text);
  return (address) => isIP(address) !== 0 && networks.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
}

function addNetwork(networks: BlockList, text: string): void {
  const [, address = '', prefix] = /^([0-9A-Fa-f.:]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  const maxBits = version === 4 ? 32 : 128;
  const bits = prefix === undefined ? maxBits : Number(prefix);
  if (version === 0 || bits > maxBits) {
    throw new TypeError(`"${text}" is not a network such as 10.0.0.0/8 or fd00::/8.`);
  }
  if (bits === 0) {
    throw new TypeError(`"${text}" would trust every address. Name the networks of your proxies.`);
  }
  networks.addSubnet(address, bits, version === 4 ? 'ipv4' : 'ipv6');
}

function peerOf({ remoteAddress }: Pick<Socket, 'remoteAddress'>): string {
  return toPlain(remoteAddress ?? '') ?? 'unknown';
}

/** An address without port, brackets and zone, and IPv4-mapped IPv6 as IPv4; null if the text is not an address. */
function toPlain(text: string): string | null {
  const trimmed = text.trim();
  const [, bracketed, withPort] = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(trimmed) ?? [];
  const address = (bracketed ?? withPort ?? trimmed).replace(/%.*$/, '');
  if (isIP(address) === 0) return null;
  if (isIP(address) === 4) return address;
  const groups = groupsOf(address);
  if (groups.slice(0, 5).some((group) => group !== '0') || groups[5] !== 'ffff') return address;
  const [high, low] = groups.slice(6).map((group) => Number.parseInt(group, 16)) as [number, number];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
