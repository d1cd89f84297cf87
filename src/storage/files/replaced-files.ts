import { link, lstat, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makePrivateFolder, writePrivateFile } from './private-file';
import { readRegularFile } from './regular-file';
import { syncFolder } from './sync-folder';

const FOLDER = 'replaced';

/** amesh writes no larger file, so a larger one is moved without being read. */
const MAX_BYTES = 67_108_864;

/**
 * A place for files that will be replaced: a new folder in `replaced/`, created on first use.
 *
 * The files stay where they are and get a second name there, so everything is still in place after a command was interrupted.
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

  /** The absolute path of the folder; null if nothing was put there. */
  get movedTo(): string | null {
    return this.#isMade ? this.#path : null;
  }

  /** Keeps a copy of each existing file. The copies are on disk when this resolves. */
  async keep(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (!(await isFile(join(this.#dir, name)))) continue;
      const [from, to] = [join(this.#dir, name), join(await this.#made(), name)];
      const isLink = (await lstat(from)).isSymbolicLink(); // a relative link would not work there
      // Not every file system has hard links, and some kernels forbid linking another user's file.
      await (isLink ? copy(from, to) : link(from, to).catch(() => copy(from, to)));
    }
    await this.#sync();
  }

  /** Keeps a copy of each file in a folder, if the folder exists. */
  async keepFolder(name: string): Promise<void> {
    const from = join(this.#dir, name);
    const files = await readdir(from).catch(() => []);
    if (files.length === 0) return;
    const to = join(await this.#made(), name);
    await makePrivateFolder(to);
    for (const file of files) {
      if (!(await isFile(join(from, file)))) continue;
      await link(join(from, file), join(to, file)).catch(() => copy(join(from, file), join(to, file)));
    }
    await syncFolder(to);
    await this.#sync();
  }

  /** Keeps the bytes of something that is not in the folder. */
  async keepBytes(name: string, bytes: Uint8Array): Promise<void> {
    await writePrivateFile(join(await this.#made(), name), bytes, 0o600);
    await this.#sync();
  }

  /**
   * Moves something away that a file cannot replace, such as a folder or a pipe, or a file that is too large to be one of
   * amesh.
   */
  async clear(name: string): Promise<void> {
    const path = join(this.#dir, name);
    const isThere = await lstat(path).catch(() => null);
    if (isThere === null || (await isFile(path))) return;
    await rename(path, join(await this.#made(), name));
    this.#hasMoved = true;
    await this.#sync();
  }

  /** Removes the copies if nothing was replaced. */
  async forget(): Promise<void> {
    if (!this.#isMade || this.#hasMoved) return;
    await rm(this.#path, { recursive: true, force: true }).catch(() => {});
    await rmdir(join(this.#dir, FOLDER)).catch(() => {}); // fails if there are older copies
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

/** Whether this is a file that is small enough to be one of amesh; it may be behind a symbolic link. */
export async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found?.isFile() === true && found.size <= MAX_BYTES;
}

async function copy(from: string, to: string): Promise<void> {
  await writePrivateFile(to, await readRegularFile(from), 0o600);
}
