import { isUtf8 } from 'node:buffer';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** What String.prototype.trim() removes. */
const BLANKS = [
  ...'\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a',
  ...'\u2028\u2029\u202f\u205f\u3000\ufeff',
].map((blank) => Buffer.from(blank));

/**
 * Reads a file with a secret. The bytes are in one array and never in a string, so that {@link wipe} leaves no copy in memory.
 * A line end after them is left out, since editors add it.
 *
 * @param path of a file, or of a pipe, which ends when its writer closes it
 * @param atMost the most bytes of a valid secret; of a longer file, one byte more is read
 * @throws NodeJS.ErrnoException; TypeError for bytes that are not UTF-8: to some programs, different secrets of that kind would be
 *   equal
 */
export async function readSecretFile(path: string, atMost: number): Promise<Buffer> {
  const LINE_END_BYTES = 2;
  const bytes = secretBytes(atMost + LINE_END_BYTES + 1);
  try {
    const length = await fill(bytes, path);
    if (length < bytes.length && !isUtf8(bytes.subarray(0, length)))
      throw new TypeError('This is not UTF-8.');
    return bytes.subarray(0, Math.min(withoutLineEnd(bytes, length), atMost + 1));
  } catch (error) {
    wipe(bytes);
    throw error;
  }
}

async function fill(bytes: Buffer, path: string): Promise<number> {
  const file = await open(path);
  try {
    for (let length = 0; ; ) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
      length += bytesRead;
      if (bytesRead === 0 || length === bytes.length) return length;
    }
  } finally {
    await file.close();
  }
}

function withoutLineEnd(bytes: Uint8Array, length: number): number {
  if (bytes[length - 1] !== LINE_FEED) return length;
  return bytes[length - 2] === CARRIAGE_RETURN ? length - 2 : length - 1;
}

/** Where a secret comes from, as messages name it. */
export interface SecretFile {
  readonly path: string;
  readonly name: string;
  /** What to do about a wrong secret: another variable does not help, since the file takes precedence. */
  readonly fix: string;
}

/** The file that a variable names. */
export function fileOf(variable: string, path: string): SecretFile {
  return {
    path,
    name: `the file of ${variable}`,
    fix: `Correct that file, or unset ${variable}.`,
  };
}

/** A credential of systemd. */
export function credentialIn(folder: string, credential: string): SecretFile {
  return {
    path: join(folder, credential),
    name: `the credential ${credential}`,
    fix: `Correct the credential ${credential}, or remove it.`,
  };
}

/** Whether a secret is empty, or only white space. */
export function isBlank(secret: Uint8Array): boolean {
  for (let rest = secret; rest.length > 0; ) {
    const blank = BLANKS.find((each) => each.equals(rest.subarray(0, each.length)));
    if (blank === undefined) return false;
    rest = rest.subarray(blank.length);
  }
  return true;
}

/** Bytes for a secret, which share no memory with other arrays. */
export function secretBytes(length: number): Buffer {
  return Buffer.allocUnsafeSlow(length).fill(0);
}

/** A secret that was a text. The text itself stays in memory, even after it was garbage-collected. */
export function fromText(text: string): Buffer {
  const bytes = secretBytes(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

/** A copy, which stays as it is when {@link wipe} overwrites the original. */
export function copyOf(secret: Uint8Array): Buffer {
  const bytes = secretBytes(secret.length);
  bytes.set(secret);
  return bytes;
}

/** Overwrites a secret that is no longer used: otherwise a dump of the memory would contain it. */
export function wipe(...secrets: readonly Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0);
}
