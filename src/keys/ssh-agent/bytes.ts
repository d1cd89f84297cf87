import { ByteReader, join, u32 } from '../slow/bytes';

/** A length of 32 bits, and the bytes: `string` of RFC 4251 section 5. */
export function string(bytes: Uint8Array | string): Uint8Array {
  const content = Buffer.from(bytes as string);
  return join(u32(content.length), content);
}

/** Reads what an agent has sent. */
export class Reader extends ByteReader {
  constructor(bytes: Uint8Array) {
    super(bytes, 'too few bytes');
  }

  string(): Uint8Array {
    return this.take(this.u32());
  }

  text(): string {
    return new TextDecoder().decode(this.string());
  }

  /** @throws RangeError if there are more bytes */
  end(): void {
    if (!this.isAtEnd) throw new RangeError('too many bytes');
  }
}
