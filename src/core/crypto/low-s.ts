/** The order of P-256 (FIPS 186-5, SP 800-186 section 3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const HALF = ORDER / 2n;

/**
 * Whether the s of a signature is at most half the order. A signature has two forms that verify, r‖s and r‖(n − s). If only
 * the low one counts, nobody can make a second signature from the first.
 *
 * @param signature 64 bytes, r‖s
 */
export function isLowS(signature: Uint8Array): boolean {
  return toNumber(signature.subarray(32)) <= HALF;
}

/** The form of a signature that has the low s. */
export function toLowS(signature: Uint8Array): Uint8Array {
  if (isLowS(signature)) return signature;
  const s = (ORDER - toNumber(signature.subarray(32))).toString(16).padStart(64, '0');
  const low = new Uint8Array(signature);
  for (let i = 0; i < 32; i++) low[32 + i] = Number.parseInt(s.slice(2 * i, 2 * i + 2), 16);
  return low;
}

function toNumber(bytes: Uint8Array): bigint {
  let hex = '0x';
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0');
  return BigInt(hex);
}
