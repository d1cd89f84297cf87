import { link, lstat, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from './file-store';
import { makePrivateFolder, writePrivateFile } from './private-file';
import { readRegularFile } from './regular-file';

const FOLDER = 'replaced';

/** What is larger is none of our files, and is moved and not read. */
const MAX_BYTES = 67_108_864;

/**
 * A place for what is about to be replaced: a folder of its own in `replaced/`, made when something comes into it.
 *
 * Files stay where they are, and have a second name there: a command that ends halfway leaves everything in place.
 */
export class ReplacedFiles {
  readonly #dir: string;
  readonly #path: string;
  #isMade = false;
  #hasMoved = false;

  /** @param dir the folder of the identity */
  constructor(dir: string) {
    this.#dir = dir;
    this.#path = join(dir, FOLDER, new Date().toISOString().replace(/[:.]/g, '-'));
  }

  /** Where it is, an absolute path; null where nothing came into it. */
  get movedTo(): string | null {
    return this.#isMade ? this.#path : null;
  }

  /** Keeps a copy of each file that is there, on the disk when it resolves. */
  async keep(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (!(await isFile(join(this.#dir, name)))) continue;
      const [from, to] = [join(this.#dir, name), join(await this.#made(), name)];
      const isLink = (await lstat(from)).isSymbolicLink(); // it may lead nowhere from there
      // Not every file system has links, nor does every kernel let us link what somebody else owns.
      await (isLink ? copy(from, to) : link(from, to).catch(() => copy(from, to)));
    }
    await this.#sync();
  }

  /** Keeps the bytes of something that lies elsewhere. */
  async keepBytes(name: string, bytes: Uint8Array): Promise<void> {
    await writePrivateFile(join(await this.#made(), name), bytes, 0o600);
    await this.#sync();
  }

  /**
   * Moves what lies under a name out of the way where no file can be put over it, or where it is too large for any of
   * ours: a folder, a pipe.
   */
  async clear(name: string): Promise<void> {
    const path = join(this.#dir, name);
    const isThere = await lstat(path).catch(() => null);
    if (isThere === null || (await isFile(path))) return;
    await rename(path, join(await this.#made(), name));
    this.#hasMoved = true;
    await this.#sync();
  }

  /** Removes the copies again, where nothing was replaced. */
  async forget(): Promise<void> {
    if (!this.#isMade || this.#hasMoved) return;
    await rm(this.#path, { recursive: true, force: true }).catch(() => {});
    await rmdir(join(this.#dir, FOLDER)).catch(() => {}); // there are older ones in it
    this.#isMade = false;
  }

  async #made(): Promise<string> {
    await makePrivateFolder(this.#path);
    this.#isMade = true;
    return this.#path;
  }

  async #sync(): Promise<void> {
    if (!this.#isMade) return;
    await syncFolder(this.#path);
    await syncFolder(join(this.#dir, FOLDER));
  }
}

/** Also behind a symbolic link, and of a size that ours have. */
export async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found?.isFile() === true && found.size <= MAX_BYTES;
}

async function copy(from: string, to: string): Promise<void> {
  await writePrivateFile(to, await readRegularFile(from), 0o600);
}
