/** Numbers of the TPM are big-endian. */
export function u8(value: number): Uint8Array {
  return Uint8Array.of(value);
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** A TPM2B: a length of 16 bits, and the bytes. */
export function sized(bytes: Uint8Array): Uint8Array {
  return join(u16(bytes.length), bytes);
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Reads what a TPM has answered. It reads no byte beyond the end: a short answer is an error, never a zero. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.take(1)[0] as number;
  }

  u16(): number {
    const [a, b] = this.take(2) as unknown as [number, number];
    return (a << 8) | b;
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16();
  }

  /** The bytes of a TPM2B. */
  sized(): Uint8Array {
    return this.take(this.u16());
  }

  /** @throws RangeError if so many bytes are not there */
  take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('The TPM answered with too few bytes.');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
