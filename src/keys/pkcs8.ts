import { createCipheriv, type KeyObject, pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(pbkdf2);

/**
 * Writes a private key as PKCS#8 "ENCRYPTED PRIVATE KEY" in PEM: PBES2 with PBKDF2-HMAC-SHA256 and AES-256-CBC, which
 * openssl, Node, Bun and Deno read. Node's own export does the same, but always with 2048 rounds.
 *
 * @param rounds of PBKDF2
 * @see RFC 8018 section 6.2
 */
export async function toEncryptedPem(key: KeyObject, passphrase: string, rounds: number): Promise<string> {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', await derive(passphrase, salt, rounds, 32, 'sha256'), iv);
  const encrypted = Buffer.concat([
    cipher.update(key.export({ format: 'der', type: 'pkcs8' })),
    cipher.final(),
  ]);

  const prf = sequence(OID.hmacWithSha256, NULL);
  const kdf = sequence(OID.pbkdf2, sequence(octets(salt), integer(rounds), prf));
  const scheme = sequence(OID.pbes2, sequence(kdf, sequence(OID.aes256Cbc, octets(iv))));
  const der = sequence(scheme, octets(encrypted));
  const lines = der.toString('base64').replace(/.{64}(?!$)/g, '$&\n');
  return `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${lines}\n-----END ENCRYPTED PRIVATE KEY-----\n`;
}

/** Object identifiers in DER, tag and length included (RFC 8018 appendix C). */
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
  // As short as can be, but with a leading zero where the first bit would read as a sign.
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
