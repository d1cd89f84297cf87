/** What the folder of an identity stores about a key in a Secure Enclave. */
export interface KeyFile {
  /** The key as its Secure Enclave has encrypted it: no other Secure Enclave can use it. */
  readonly representation: Uint8Array;
  /** The compressed point, 33 bytes. */
  readonly publicKey: Uint8Array;
  /** The SHA-256 of the helper that made the key, as hexadecimal digits. */
  readonly helper: string;
}

const NOTE =
  '# A private key of amesh. Only the Secure Enclave that made it can use it: it is worthless on another Mac.';
const FILE = new RegExp(
  `^${NOTE}\nkey: ([A-Za-z0-9+/]{4,8192}={0,2})\npublic-key: ([A-Za-z0-9+/]{44})\nhelper-sha256: ([0-9a-f]{64})\n$`,
);

export function toKeyFile({ representation, publicKey, helper }: KeyFile): string {
  const [key, point] = [representation, publicKey].map((bytes) => Buffer.from(bytes).toString('base64'));
  return `${NOTE}\nkey: ${key}\npublic-key: ${point}\nhelper-sha256: ${helper}\n`;
}

/** @returns null for any other text */
export function fromKeyFile(text: string): KeyFile | null {
  const [, key = '', point = '', helper] = FILE.exec(text) ?? [];
  if (helper === undefined) return null;
  const toBytes = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));
  const file = { representation: toBytes(key), publicKey: toBytes(point), helper };
  return toKeyFile(file) === text ? file : null;
}
