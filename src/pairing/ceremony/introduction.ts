import type { Signer } from '../../core/crypto/provider';
import { webCrypto } from '../../core/crypto/web';
import { fromBase64Url, toBase64Url } from '../../core/encoding';
import { hasExactly } from '../../core/strict-json';
import { normalizeAuthority } from '../../core/wire/authority';
import { LABELS } from '../../core/wire/labels';
import { tampered } from './failure';
import { lp } from './length-prefix';

/** The introduction of a side in M4 or M5: a device key, with proof that the side has its private key. */
export interface Introduction {
  readonly role: 'controller' | 'target';
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** The peer's name, well-formed but otherwise unchecked: clean it before display. */
  readonly name: string;
  /**
   * For a target: the authorities under which it claims to be called, in normal form, without duplicates, at most 32 with
   * 4,096 characters in total. For a controller: none.
   */
  readonly hosts: readonly string[];
  /** For a target: false if it cannot prove its answers. Absent: it can. */
  readonly proves?: false | undefined;
}

/** Signed after the hosts, none of which contains `=`. */
const NO_PROOFS = 'proves=false';

// Sealed and in base64url, our largest introduction still fits into the 8 KiB that a relay forwards.
const MAX_NAME = 256;
const MAX_HOSTS = 32;
const MAX_HOSTS_LENGTH = 4096;

/** The bytes that the device key signs: the ceremony, the role, and the whole introduction. */
function signedBytes(
  th: Uint8Array,
  { role, publicKey, name, hosts, proves }: Introduction,
): Uint8Array<ArrayBuffer> {
  const more = proves === false ? [NO_PROOFS] : [];
  return lp(LABELS.pairing[role], th, publicKey, name, ...hosts, ...more);
}

/**
 * Checks our own introduction before anything is sent, as the peer would.
 *
 * @throws TypeError with the reason
 */
export function assertIntroduction(own: Introduction, role: Introduction['role'], signer: Signer): void {
  if (own.role !== role) throw new TypeError(`A ${role} must introduce itself as a ${role}.`);
  if (own.publicKey !== toBase64Url(signer.publicKey))
    throw new TypeError('A device must introduce itself with the public key of its signer.');
  if (!isName(own.name) || own.name.length > MAX_NAME) {
    throw new TypeError(`The name of a device must be well-formed text of at most ${MAX_NAME} characters.`);
  }
  if (own.proves !== undefined && role === 'controller')
    throw new TypeError('A controller must not say whether it proves answers.');
  if (!areHosts(own.hosts, role)) {
    throw new TypeError(
      role === 'controller'
        ? 'A controller must not introduce hosts.'
        : `A target can introduce at most ${MAX_HOSTS} hosts with ${MAX_HOSTS_LENGTH} characters in total: ` +
            'each as host or host:port, in lower case, without :80 or :443, without duplicates.',
    );
  }
}

/** The first hosts of a target, as many as fit into an introduction. */
export function hostsThatFit(hosts: readonly string[]): string[] {
  let length = 0;
  return hosts.slice(0, MAX_HOSTS).filter((host) => {
    length += host.length;
    return length <= MAX_HOSTS_LENGTH;
  });
}

function isName(name: unknown): name is string {
  // Malformed text would be signed as another text.
  return typeof name === 'string' && name.isWellFormed();
}

function areHosts(hosts: unknown, role: Introduction['role']): hosts is string[] {
  if (!Array.isArray(hosts) || hosts.length > (role === 'target' ? MAX_HOSTS : 0)) return false;
  return (
    hosts.every((host) => typeof host === 'string') &&
    hosts.join('').length <= MAX_HOSTS_LENGTH &&
    hosts.every((host) => normalizeAuthority(host) === host) &&
    new Set(hosts).size === hosts.length
  );
}

export async function writeIntroduction(th: Uint8Array, own: Introduction, signer: Signer): Promise<object> {
  const { role, publicKey, name, hosts, proves } = own;
  const more = proves === false ? { proves } : {};
  return { role, publicKey, name, hosts, ...more, sig: toBase64Url(await signer.sign(signedBytes(th, own))) };
}

/** @throws PairingError `tampered` for another role, a malformed introduction, or an invalid signature */
export async function readIntroduction(
  th: Uint8Array,
  content: Record<string, unknown>,
  expected: Introduction['role'],
): Promise<Introduction> {
  const { role, publicKey, name, hosts, sig, proves } = content;
  const isUnproven = expected === 'target' && proves === false;
  if (
    !hasExactly(content, ['role', 'publicKey', 'name', 'hosts', 'sig', ...(isUnproven ? ['proves'] : [])]) ||
    role !== expected ||
    typeof publicKey !== 'string' ||
    typeof sig !== 'string' ||
    !isName(name) ||
    !areHosts(hosts, expected)
  ) {
    throw tampered();
  }
  const more = isUnproven ? { proves: false as const } : {};
  const introduction: Introduction = { role: expected, publicKey, name, hosts, ...more };
  const point = fromBase64Url(publicKey);
  const signature = fromBase64Url(sig);
  if (point === null || signature === null) throw tampered();
  const key = await Promise.resolve(webCrypto.importPublicKey(point)).catch(() => {
    throw tampered();
  });
  if (!(await key.verify(signature, signedBytes(th, introduction)))) throw tampered();
  return introduction;
}
