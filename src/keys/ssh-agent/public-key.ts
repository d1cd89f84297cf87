import { createHash, ECDH } from 'node:crypto';
import { Reader } from './bytes';

/** The one kind of key that amesh uses: P-256 with SHA-256 (RFC 5656). */
export const KEY_TYPE = 'ecdsa-sha2-nistp256';
const CURVE = 'nistp256';
const UNCOMPRESSED = 0x04;

/** A key that an agent lists. */
export interface AgentKey {
  /** The public key as SSH writes it (RFC 4253 section 6.6). */
  readonly blob: Uint8Array;
  /** What the agent calls it: any text. */
  readonly comment: string;
}

/** The first word of a key, such as `ssh-ed25519`: any text, empty if there is none. */
export function typeOf(blob: Uint8Array): string {
  try {
    return new Reader(blob).text();
  } catch {
    return '';
  }
}

/** @returns the compressed point, 33 bytes; null for a key of another kind, and for bytes that are not a point on the curve */
export function pointOf(blob: Uint8Array): Uint8Array | null {
  try {
    const reader = new Reader(blob);
    if (reader.text() !== KEY_TYPE || reader.text() !== CURVE) return null;
    const point = reader.string();
    reader.end();
    if (point.length !== 65 || point[0] !== UNCOMPRESSED) return null;
    return new Uint8Array(ECDH.convertKey(point, 'prime256v1', undefined, undefined, 'compressed') as Buffer);
  } catch {
    return null;
  }
}

/** As `ssh-add -l` prints it: `SHA256:` and 43 characters. */
export function fingerprintOf(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}
