/** A length of 32 bits, and the bytes: `string` of RFC 4251 section 5. */
export function string(bytes: Uint8Array | string): Uint8Array {
  const content = Buffer.from(bytes as string);
  return join(u32(content.length), content);
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Reads what an agent has sent. It reads no byte beyond the end: a short answer is an error, never a zero. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  u8(): number {
    return this.#take(1)[0] as number;
  }

  u32(): number {
    const [a, b, c, d] = this.#take(4) as unknown as [number, number, number, number];
    return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  }

  string(): Uint8Array {
    return this.#take(this.u32());
  }

  text(): string {
    return new TextDecoder().decode(this.string());
  }

  /** @throws RangeError if there are more bytes */
  end(): void {
    if (this.#at !== this.#bytes.length) throw new RangeError('too many bytes');
  }

  #take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('too few bytes');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
