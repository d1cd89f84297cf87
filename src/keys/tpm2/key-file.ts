import type { KeyBlob } from './commands';

/** What a TSS2 key file holds. */
export interface KeyFile extends KeyBlob {
  /** The parent: a hierarchy, whose primary key is recreated, or a persistent handle. */
  readonly parent: number;
  /** Whether the key has no PIN. */
  readonly isWithoutPin: boolean;
}

/** 2.23.133.10.1.3, id-loadablekey of the TCG. */
const LOADABLE_KEY = Uint8Array.of(0x67, 0x81, 0x05, 0x0a, 0x01, 0x03);

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  octets: 0x04,
  oid: 0x06,
  sequence: 0x30,
  emptyAuth: 0xa0,
} as const;

const PEM = /-----BEGIN TSS2 PRIVATE KEY-----\s([A-Za-z0-9+/=\s]+)-----END TSS2 PRIVATE KEY-----/;

/**
 * Writes a key in the form that openssl's tpm2 provider and ssh-tpm-agent read.
 *
 * @see https://www.hansenpartnership.com/draft-bottomley-tpm2-keys.html
 */
export function toKeyFile({ publicArea, privateArea, parent, isWithoutPin }: KeyFile): string {
  const der = node(
    TAG.sequence,
    node(TAG.oid, LOADABLE_KEY),
    ...(isWithoutPin ? [node(TAG.emptyAuth, node(TAG.boolean, Uint8Array.of(0xff)))] : []),
    node(TAG.integer, toInteger(parent)),
    node(TAG.octets, withSize(publicArea)),
    node(TAG.octets, withSize(privateArea)),
  );
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return ['-----BEGIN TSS2 PRIVATE KEY-----', ...lines, '-----END TSS2 PRIVATE KEY-----', ''].join('\n');
}

/**
 * Reads a key file. It accepts what {@link toKeyFile} writes, and files of other programs with the same members.
 *
 * @returns null for anything else, such as a key with a policy
 */
export function fromKeyFile(text: string): KeyFile | null {
  const [, base64] = PEM.exec(text) ?? [];
  if (base64 === undefined) return null;
  try {
    return readKey(new DerReader(Buffer.from(base64, 'base64')));
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function readKey(file: DerReader): KeyFile | null {
  const key = new DerReader(file.expect(TAG.sequence));
  if (!file.isAtEnd || Buffer.compare(key.expect(TAG.oid), LOADABLE_KEY) !== 0) return null;
  let isWithoutPin = false;
  if (key.next === TAG.emptyAuth)
    isWithoutPin = new DerReader(key.expect(TAG.emptyAuth)).expect(TAG.boolean)[0] !== 0;
  const parent = fromInteger(key.expect(TAG.integer));
  const publicArea = withoutSize(key.expect(TAG.octets));
  const privateArea = withoutSize(key.expect(TAG.octets));
  return key.isAtEnd ? { parent, isWithoutPin, publicArea, privateArea } : null;
}

function node(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(content);
  const { length } = body;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.of(tag, ...size), body]);
}

/** DER integers are signed: if the first bit is set, a zero byte has to come before it. */
function toInteger(value: number): Uint8Array {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt32BE(value, 1);
  return value >= 0x8000_0000 ? bytes : bytes.subarray(1);
}

function fromInteger(bytes: Uint8Array): number {
  if (bytes.length === 0 || bytes.length > 5) throw new RangeError('The parent is not a handle.');
  const value = Buffer.from(bytes).readUIntBE(0, bytes.length);
  if (value > 0xffff_ffff) throw new RangeError('The parent is not a handle.');
  return value;
}

function withSize(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes]);
}

function withoutSize(bytes: Uint8Array): Uint8Array {
  const size = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
  if (bytes.length !== size + 2) throw new RangeError('A part of the key has another length than it names.');
  return new Uint8Array(bytes.subarray(2));
}

/** Reads DER. A length beyond the end is an error. */
class DerReader {
  #at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.#at === this.bytes.length;
  }

  /** The tag of the next element; undefined at the end. */
  get next(): number | undefined {
    return this.bytes[this.#at];
  }

  /** @throws RangeError if the next element has another tag */
  expect(tag: number): Uint8Array {
    if (this.#byte() !== tag) throw new RangeError('The key file has another element here.');
    const first = this.#byte();
    const length =
      first < 0x80
        ? first
        : first === 0x81
          ? this.#byte()
          : first === 0x82
            ? this.#byte() * 256 + this.#byte()
            : -1;
    const end = this.#at + length;
    if (length < 0 || end > this.bytes.length) throw new RangeError('The key file is cut off.');
    const content = this.bytes.subarray(this.#at, end);
    this.#at = end;
    return content;
  }

  #byte(): number {
    const byte = this.bytes[this.#at++];
    if (byte === undefined) throw new RangeError('The key file is cut off.');
    return byte;
  }
}
