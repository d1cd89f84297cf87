import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { UsageError } from '../errors/errors';
import { printable } from '../words/printable';
import { loadCore } from './load';

/**
 * Reads a public key.
 *
 * @param given 33 bytes in base64url, or the path of a PEM file
 * @param name the name of the flag or argument, for errors
 * @returns a compressed point, 33 bytes
 * @throws UsageError if it is not a public P-256 key
 */
export async function toPublicKey(given: string, name = '--public-key'): Promise<Uint8Array> {
  const { fromBase64Url } = await loadCore();
  const bytes = /^[\w-]{44}$/.test(given) ? fromBase64Url(given) : null;
  if (bytes !== null && (bytes[0] === 2 || bytes[0] === 3)) return bytes;
  const pem = await readFile(given, 'utf8').catch((error) => {
    throw new UsageError(`${name}: ${printable(given)} cannot be read (${error.code}).`);
  });
  // Node would accept a private key, and use its public part. But a private key should not be in such a file at all.
  if (/PRIVATE KEY/.test(pem))
    throw new UsageError(`${name}: this file contains a private key. Give the public key alone.`);
  try {
    const key = createPublicKey(pem);
    const { crv, x = '', y = '' } = key.export({ format: 'jwk' });
    if (crv !== 'P-256') throw new RangeError();
    const sign = 2 + ((fromBase64Url(y)?.[31] ?? 0) & 1);
    return Uint8Array.of(sign, ...(fromBase64Url(x) as Uint8Array));
  } catch {
    throw new UsageError(`${name}: this file does not contain a P-256 public key in PEM (BEGIN PUBLIC KEY).`);
  }
}
