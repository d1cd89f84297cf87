import { join, u16, u32 } from '../slow/bytes';
import { Reader, sized } from './bytes';

const ECC = 0x0023;
const SHA256 = 0x000b;
const AES = 0x0006;
const CFB = 0x0043;
const ECDSA = 0x0018;
const NULL = 0x0010;
const NIST_P256 = 0x0003;

const FIXED_TPM = 1 << 1;
const FIXED_PARENT = 1 << 4;
const SENSITIVE_DATA_ORIGIN = 1 << 5;
const USER_WITH_AUTH = 1 << 6;
const NO_DA = 1 << 10;
const RESTRICTED = 1 << 16;
const DECRYPT = 1 << 17;
const SIGN = 1 << 18;

const MADE_HERE = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | USER_WITH_AUTH;

/** The template of a P-256 key in a TPM. */
export interface EccTemplate {
  readonly attributes: number;
  readonly kind: 'storage' | 'signing';
}

/**
 * The storage primary key. Other programs use the same one as the parent of a TSS2 key file: openssl's tpm2 provider, ssh-tpm-agent
 * and systemd.
 */
export const STORAGE_PRIMARY: EccTemplate = {
  attributes: MADE_HERE | NO_DA | RESTRICTED | DECRYPT,
  kind: 'storage',
};

/** A signing key without a PIN: nothing can be guessed, so it stays usable while the TPM is locked. */
export const SIGNING_KEY: EccTemplate = { attributes: MADE_HERE | NO_DA | SIGN, kind: 'signing' };

/** A signing key with a PIN: the TPM locks itself after some wrong PINs. */
export const SIGNING_KEY_WITH_PIN: EccTemplate = { attributes: MADE_HERE | SIGN, kind: 'signing' };

/** A TPMT_PUBLIC without a point, as a template for a new key. */
export function publicArea({ attributes, kind }: EccTemplate): Uint8Array {
  const symmetric = kind === 'storage' ? [u16(AES), u16(128), u16(CFB)] : [u16(NULL)];
  const scheme = kind === 'storage' ? [u16(NULL)] : [u16(ECDSA), u16(SHA256)];
  return join(
    u16(ECC),
    u16(SHA256),
    u32(attributes),
    sized(new Uint8Array()), // no policy
    ...symmetric,
    ...scheme,
    u16(NIST_P256),
    u16(NULL), // no key derivation
    sized(new Uint8Array()),
    sized(new Uint8Array()),
  );
}

/** What the public area of a P-256 key says. */
export interface PublicArea {
  readonly attributes: number;
  /** The compressed point, 33 bytes. */
  readonly point: Uint8Array;
}

/**
 * Reads the TPMT_PUBLIC of a P-256 key.
 *
 * @returns null for any other key
 */
export function readPublicArea(bytes: Uint8Array): PublicArea | null {
  try {
    const reader = new Reader(bytes);
    if (reader.u16() !== ECC || reader.u16() !== SHA256) return null;
    const attributes = reader.u32();
    reader.sized();
    if (reader.u16() !== NULL) reader.take(4);
    if (reader.u16() !== NULL) reader.u16();
    if (reader.u16() !== NIST_P256) return null;
    if (reader.u16() !== NULL) reader.u16();
    const [x, y] = [reader.sized(), reader.sized()];
    return reader.isAtEnd && x.length <= 32 && y.length <= 32 ? { attributes, point: compress(x, y) } : null;
  } catch {
    return null;
  }
}

/** Whether a key never leaves its TPM, and can only sign. */
export function isSigningKey({ attributes }: PublicArea): boolean {
  return (attributes & ~NO_DA) === SIGNING_KEY_WITH_PIN.attributes;
}

function compress(x: Uint8Array, y: Uint8Array): Uint8Array {
  const point = new Uint8Array(33);
  point[0] = 2 + ((y.at(-1) ?? 0) & 1);
  point.set(x, 33 - x.length);
  return point;
}
