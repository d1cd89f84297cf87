import type { Signer } from '../core/crypto/provider';
import { webCrypto } from '../core/crypto/web';
import { fromBase64Url, toBase64Url } from '../core/encoding';
import { tampered } from './failure';
import { lp } from './fields';

/** How a side introduces itself in M4 or M5: a device key, and that it holds it. */
export interface Introduction {
  readonly role: 'controller' | 'target';
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** As the peer gives it: to be cleaned before it is shown. */
  readonly name: string;
  /** Of a target: the authorities at which it is called, as it says. */
  readonly hosts: readonly string[];
}

const MAX_NAME = 4096;
const MAX_HOSTS = 32;
const MAX_HOST = 262;

/** What the device key signs: the ceremony, the role, and all that the introduction says. */
function signedBytes(
  th: Uint8Array,
  { role, publicKey, name, hosts }: Introduction,
): Uint8Array<ArrayBuffer> {
  return lp(`amesh-pair/1 ${role}`, th, publicKey, name, ...hosts);
}

export async function writeIntroduction(th: Uint8Array, own: Introduction, signer: Signer): Promise<object> {
  return { ...own, sig: toBase64Url(await signer.sign(signedBytes(th, own))) };
}

/** @throws PairingError `tampered` for another role, a wrong form, or a signature that the key did not make */
export async function readIntroduction(
  th: Uint8Array,
  content: Record<string, unknown>,
  expected: Introduction['role'],
): Promise<Introduction> {
  const { role, publicKey, name, hosts, sig } = content;
  if (
    Object.keys(content).sort().join(' ') !== 'hosts name publicKey role sig' ||
    role !== expected ||
    typeof publicKey !== 'string' ||
    typeof name !== 'string' ||
    typeof sig !== 'string' ||
    name.length > MAX_NAME ||
    !Array.isArray(hosts) ||
    hosts.length > MAX_HOSTS ||
    !hosts.every((host) => typeof host === 'string' && host.length <= MAX_HOST)
  ) {
    throw tampered();
  }
  const introduction = { role: expected, publicKey, name, hosts } as Introduction;
  const point = fromBase64Url(publicKey);
  const signature = fromBase64Url(sig);
  if (point === null || signature === null) throw tampered();
  const key = await Promise.resolve(webCrypto.importPublicKey(point)).catch(() => {
    throw tampered();
  });
  if (!(await key.verify(signature, signedBytes(th, introduction)))) throw tampered();
  return introduction;
}
