import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AmeshError } from '../core/errors/amesh-error';
import { PROCESS_CODES } from '../process/errors/codes';
import { isMissing } from '../storage/files/file-store';
import { makePrivateFolder, writePrivateFile } from '../storage/files/private-file';
import { readRegularFile } from '../storage/files/regular-file';
import { syncFolder } from '../storage/files/sync-folder';
import type { KeyContext } from './backend';
import { NEW_IDENTITY, NO_BACKUP } from './passphrase';

const FOLDER = 'keys';
const IDENTITY = 'identity.json';
/** No identity is longer. */
const MAX_IDENTITY_BYTES = 1_048_576;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** The key files of a backend: `keys/<name><ending>` in the folder of the identity. */
export class KeyFiles {
  /** @param ending begins with a full stop */
  constructor(private readonly ending: string) {}

  /**
   * The reference of a new key.
   *
   * @param name at least 12 bytes that name no other file: a public key, or random bytes
   */
  refOf(name: Uint8Array): string {
    return `${FOLDER}/${Buffer.from(name).toString('base64url').slice(0, 16)}${this.ending}`;
  }

  /** Writes a new file, which only its owner can read, and waits until it is on disk. */
  async write(ref: string, text: string, { dir }: KeyContext): Promise<void> {
    const path = join(dir, ref);
    await makePrivateFolder(dirname(path));
    await writePrivateFile(path, Buffer.from(text), 0o600);
    await syncFolder(dirname(path));
  }

  /** @throws AmeshError `identity_unreadable` */
  async read(ref: string, { dir }: KeyContext): Promise<string> {
    this.#assertRef(ref);
    const path = join(dir, ref);
    try {
      return new TextDecoder().decode(await readRegularFile(path));
    } catch (error) {
      if (isMissing(error)) throw lostKey(`The key file ${path} is missing.`);
      throw new AmeshError(PROCESS_CODES.identity_unreadable, `The key file ${path} cannot be read.`, {
        cause: error,
      });
    }
  }

  /**
   * Removes a file. It is not an error if there is none.
   *
   * @throws Error if identity.json names the file: without it, the machine would have no key
   */
  async remove(ref: string, { dir }: KeyContext): Promise<void> {
    this.#assertRef(ref);
    if (await isNamed(ref, dir)) throw new Error(`The key ${ref} is that of this machine, and stays.`);
    await rm(join(dir, ref), { force: true });
  }

  /** identity.json is not sealed, so a path in it must not lead out of the folder. */
  #assertRef(ref: string): void {
    const isOwn = ref.startsWith(`${FOLDER}/`) && ref.endsWith(this.ending);
    if (isOwn && NAME.test(ref.slice(FOLDER.length + 1, ref.length - this.ending.length))) return;
    throw new AmeshError(
      PROCESS_CODES.identity_unreadable,
      'identity.json names a key file that amesh did not write.',
    );
  }
}

/** Whether identity.json names a key file, even if nothing else in it can be read. */
async function isNamed(ref: string, dir: string): Promise<boolean> {
  try {
    return Buffer.from(await readRegularFile(join(dir, IDENTITY), MAX_IDENTITY_BYTES)).includes(
      basename(ref),
    );
  } catch (error) {
    const { code } = error as { code?: string };
    if (isMissing(error) || code === 'EISDIR' || code === 'ENOTFILE') return false; // something else is in its place
    throw error;
  }
}

/** `identity_unreadable`: the file is not the key. */
export function lostKey(detail: string): AmeshError {
  return new AmeshError(PROCESS_CODES.identity_unreadable, detail, {
    fix: `Restore it from a backup. ${NO_BACKUP}`,
    command: NEW_IDENTITY,
  });
}
