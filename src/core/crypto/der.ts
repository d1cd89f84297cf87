/**
 * Converts a signature r‖s of 64 bytes to the ASN.1 DER that node:crypto takes: 8 to 72 bytes (RFC 3279 section 2.2.3).
 *
 * @param allocate creates the array; its initial content does not matter
 */
export function toDer(
  signature: Uint8Array,
  allocate: (length: number) => Uint8Array = (length) => new Uint8Array(length),
): Uint8Array {
  const rStart = integerStart(signature, 0);
  const sStart = integerStart(signature, 32);
  const rPad = (signature[rStart] as number) >> 7;
  const sPad = (signature[sStart] as number) >> 7;
  const rLength = 32 - rStart + rPad;
  const sLength = 64 - sStart + sPad;
  const der = allocate(6 + rLength + sLength);
  der[0] = 0x30;
  der[1] = 4 + rLength + sLength;
  der[2] = 0x02;
  der[3] = rLength;
  der[4] = 0; // keeps a leading 1 bit from being a sign; otherwise overwritten
  copy(signature, rStart, 32, der, 4 + rPad);
  der[4 + rLength] = 0x02;
  der[5 + rLength] = sLength;
  der[6 + rLength] = 0;
  copy(signature, sStart, 64, der, 6 + rLength + sPad);
  return der;
}

/** For so few bytes, a loop is faster than two views and `set()`. */
function copy(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  for (let i = start; i < end; i++) to[at + i - start] = from[i] as number;
}

function integerStart(bytes: Uint8Array, start: number): number {
  let i = start;
  while (i < start + 31 && bytes[i] === 0) i++;
  return i;
}

/** Converts a DER signature from node:crypto to r‖s, 64 bytes. The signature comes from our own signer, so it is well formed. */
export function fromDer(der: Uint8Array): Uint8Array<ArrayBuffer> {
  const signature = new Uint8Array(64);
  const rLength = der[3] as number;
  const sLength = der[5 + rLength] as number;
  place(signature, 32, der, 4, rLength);
  place(signature, 64, der, 6 + rLength, sLength);
  return signature;
}

/** @param end where the integer ends in the signature; the integer has at most 32 bytes */
function place(signature: Uint8Array, end: number, der: Uint8Array, start: number, length: number): void {
  const pad = length === 33 ? 1 : 0; // keeps a leading 1 bit from being a sign
  copy(der, start + pad, start + length, signature, end - length + pad);
}
