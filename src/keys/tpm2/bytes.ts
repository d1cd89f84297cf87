import { ByteReader, join, u16 } from '../slow/bytes';

export function u8(value: number): Uint8Array {
  return Uint8Array.of(value);
}

/** A TPM2B: a length of 16 bits, and the bytes. */
export function sized(bytes: Uint8Array): Uint8Array {
  return join(u16(bytes.length), bytes);
}

/** Reads what a TPM has answered. */
export class Reader extends ByteReader {
  constructor(bytes: Uint8Array) {
    super(bytes, 'The TPM responded with too few bytes.');
  }

  /** The bytes of a TPM2B. */
  sized(): Uint8Array {
    return this.take(this.u16());
  }
}
