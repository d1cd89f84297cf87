import { webCrypto } from '../core/crypto/web';
import { deviceIdOf } from '../core/devices/allow-list';
import { fromBase64Url } from '../core/encoding';
import { AmeshError } from '../core/errors/amesh-error';
import { parseHosts } from '../core/wire/authority';
import { cleanName } from '../trust/names';
import type { Introduction } from './ceremony/introduction';
import { PAIRING_CODES } from './errors/codes';

/** The introduction of the other machine, safe to show and to store. */
export interface Peer {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** Shown to people: at most 64 code points. */
  readonly friendlyName: string;
  /** For a target: the authorities under which it is called, in normal form. */
  readonly hosts: readonly string[];
  /** For a target: false if it said that it cannot prove its answers. */
  readonly proves?: boolean | undefined;
}

/** @throws AmeshError `pairing_tampered` for an invalid host */
export async function toPeer({ role, publicKey, name, hosts, proves }: Introduction): Promise<Peer> {
  return {
    deviceId: await deviceIdOf(fromBase64Url(publicKey) as Uint8Array, webCrypto),
    publicKey,
    friendlyName: cleanName(name),
    hosts: toHosts(hosts),
    ...(role === 'target' && { proves: proves !== false }),
  };
}

function toHosts(hosts: readonly string[]): string[] {
  try {
    return parseHosts(hosts);
  } catch {
    throw new AmeshError(PAIRING_CODES.pairing_tampered, 'The target reported an invalid host.');
  }
}
