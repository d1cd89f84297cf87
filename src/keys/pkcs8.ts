import { createCipheriv, createPrivateKey, type KeyObject, pbkdf2, randomBytes, subtle } from 'node:crypto';
import { promisify } from 'node:util';
import { wipe } from './secrets/secret-bytes';

const derive = promisify(pbkdf2);

/**
 * Writes a private key as PKCS#8 "ENCRYPTED PRIVATE KEY" in PEM: PBES2 with PBKDF2-HMAC-SHA256 and AES-256-CBC, which
 * openssl, Node, Bun and Deno can read. Node's own export writes the same, but always with 2048 rounds.
 *
 * @param rounds the number of PBKDF2 rounds
 * @see RFC 8018 section 6.2
 */
export async function toEncryptedPem(
  key: KeyObject,
  passphrase: Uint8Array | string,
  rounds: number,
): Promise<string> {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const secret = await derive(passphrase, salt, rounds, 32, 'sha256');
  const plain = key.export({ format: 'der', type: 'pkcs8' });
  const cipher = createCipheriv('aes-256-cbc', secret, iv);
  const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
  wipe(secret, plain);

  const prf = sequence(OID.hmacWithSha256, NULL);
  const kdf = sequence(OID.pbkdf2, sequence(octets(salt), integer(rounds), prf));
  const scheme = sequence(OID.pbes2, sequence(kdf, sequence(OID.aes256Cbc, octets(iv))));
  const der = sequence(scheme, octets(encrypted));
  const lines = der.toString('base64').replace(/.{64}(?!$)/g, '$&\n');
  return `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${lines}\n-----END ENCRYPTED PRIVATE KEY-----\n`;
}

/** Object identifiers in DER, with tag and length (RFC 8018 appendix C). */
const OID = {
  pbes2: Buffer.from('06092a864886f70d01050d', 'hex'),
  pbkdf2: Buffer.from('06092a864886f70d01050c', 'hex'),
  hmacWithSha256: Buffer.from('06082a864886f70d0209', 'hex'),
  aes256Cbc: Buffer.from('060960864801650304012a', 'hex'),
};
const NULL = Buffer.from('0500', 'hex');

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function octets(bytes: Buffer): Buffer {
  return tagged(0x04, bytes);
}

/** A positive integer below 2^31. */
function integer(value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt32BE(value, 1);
  let start = 0;
  // As short as possible, but with a leading zero if the first bit would be read as a sign.
  while (start < 4 && bytes[start] === 0 && (bytes[start + 1] as number) < 0x80) start++;
  return tagged(0x02, bytes.subarray(start));
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}

// Exactly one block: some PEM readers would accept another one after it, even an unencrypted key.
const PEM =
  /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n([A-Za-z0-9+/=\n]{1,4096})\n-----END ENCRYPTED PRIVATE KEY-----\n?$/;

/** More rounds would block the process for seconds at each attempt to open the key. */
const MAX_ROUNDS = 2_000_000;

/**
 * The PBKDF2 rounds of an encrypted key, as {@link toEncryptedPem} or openssl writes it: PBES2 in one PEM block. It rejects
 * an unencrypted key, which would open with any passphrase, and which somebody else may have put there.
 *
 * @returns null for any other text
 */
export function roundsOf(pem: string): number | null {
  return readPem(pem)?.rounds ?? null;
}

/**
 * Opens a key that {@link toEncryptedPem} or openssl wrote.
 *
 * OpenSSL frees what it decrypts without overwriting it, so a later dump of the memory may contain the key once more. If the key
 * has the form of {@link toEncryptedPem}, this code decrypts it without leaving a copy.
 *
 * @throws an error of node:crypto if the passphrase is wrong; TypeError for any other text
 */
export async function openEncryptedPem(pem: string, passphrase: Uint8Array): Promise<KeyObject> {
  const read = readPem(pem);
  if (read === null) throw new TypeError('This is not an encrypted PKCS#8 key with PBES2.');
  const { salt, rounds, iv, encrypted } = read;
  if (salt === undefined || iv === undefined)
    return createPrivateKey({ key: pem, passphrase: passphrase as Buffer });
  const secret = await derive(passphrase, salt, rounds, 32, 'sha256');
  let der: Uint8Array | undefined;
  try {
    // Decipher.update() would also leave a copy behind.
    const key = await subtle.importKey('raw', secret, 'AES-CBC', false, ['decrypt']);
    der = new Uint8Array(await subtle.decrypt({ name: 'AES-CBC', iv }, key, encrypted));
    return createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
  } finally {
    wipe(secret, der ?? EMPTY);
  }
}

interface EncryptedKey {
  readonly rounds: number;
  readonly encrypted: Buffer;
  /** Undefined, like `iv`, unless the key is in the form of {@link toEncryptedPem}. */
  readonly salt?: Buffer | undefined;
  /** 16 bytes. */
  readonly iv?: Buffer | undefined;
}

/** @see RFC 8018 appendix A.4 */
function readPem(pem: string): EncryptedKey | null {
  const body = PEM.exec(pem)?.[1];
  if (body === undefined) return null;
  const outer = elements(Buffer.from(body, 'base64'))[0];
  const [scheme, encrypted] = outer === undefined ? [] : elements(outer.content);
  if (outer?.tag !== 0x30 || scheme?.tag !== 0x30 || encrypted?.tag !== 0x04) return null;
  const [oid, parameters] = elements(scheme.content);
  if (!isOid(oid, OID.pbes2)) return null;
  const [kdf, cipher] = elements(parameters?.content ?? EMPTY);
  const [kdfOid, settings] = elements(kdf?.content ?? EMPTY);
  const [salt, rounds, prf, ...more] = elements(settings?.content ?? EMPTY);
  const { length } = rounds?.content ?? EMPTY;
  if (rounds?.tag !== 0x02 || length < 1 || length > 4) return null;
  const count = rounds.content.readUIntBE(0, length);
  if (count > MAX_ROUNDS) return null;
  const read = { rounds: count, encrypted: encrypted.content };
  const [cipherOid, iv] = elements(cipher?.content ?? EMPTY);
  const [prfOid] = elements(prf?.content ?? EMPTY);
  const isOwn =
    isOid(kdfOid, OID.pbkdf2) && isOid(prfOid, OID.hmacWithSha256) && isOid(cipherOid, OID.aes256Cbc);
  if (!isOwn || more.length > 0 || salt?.tag !== 0x04 || iv?.tag !== 0x04 || iv.content.length !== 16)
    return read;
  return { ...read, salt: salt.content, iv: iv.content };
}

function isOid(element: Element | undefined, oid: Buffer): boolean {
  return element !== undefined && element.tag === oid[0] && oid.subarray(2).equals(element.content);
}

const EMPTY = Buffer.alloc(0);

interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

/** The DER elements of a buffer, up to the first truncated one. */
function elements(der: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at + 2 <= der.length; ) {
    const first = der[at + 1] as number;
    const more = first < 0x80 ? 0 : first & 0x7f;
    if (more > 2 || at + 2 + more > der.length) break;
    const length = more === 0 ? first : der.readUIntBE(at + 2, more);
    const start = at + 2 + more;
    if (start + length > der.length) break;
    found.push({ tag: der[at] as number, content: der.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}
