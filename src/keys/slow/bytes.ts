/** Numbers of the TPM and of SSH agents are big-endian. */
export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0)); // not from a pool, since a part may be a PIN
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Reads what hardware or an agent has sent. It reads no byte beyond the end: a short answer is an error, never a zero. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  /** @param tooShort the message of the error beyond the end */
  constructor(
    bytes: Uint8Array,
    private readonly tooShort: string,
  ) {
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

  /** @throws RangeError if so many bytes are not there */
  take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError(this.tooShort);
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
