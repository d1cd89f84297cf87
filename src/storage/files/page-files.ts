import { readdirSync, statSync, unlinkSync } from 'node:fs';
import { chmod, chown, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { newToken, removeRests } from './file-lock';
import { makePrivateFolder, writePrivateFile } from './private-file';
import { readRegularFile } from './regular-file';
import { syncFolder } from './sync-folder';

/** The form of our file names. We do not remove files with other names, since they are not ours. */
const NAME = /^[A-Za-z0-9_-]{43}$/;
const NAMES = /"[A-Za-z0-9_-]{43}"/g;

/** The pages of a document as files in one folder, each named by the hash of its bytes. */
export class PageFiles {
  /**
   * @param dir the folder for the pages; created at the first write
   * @param document the file that names the pages: its readers can read the pages, too
   */
  constructor(
    readonly dir: string,
    readonly document: string,
  ) {}

  /** Returns null for a page that cannot be read: this affects only the devices on it. */
  read(names: readonly string[], atMost: number): Promise<(Uint8Array | null)[]> {
    return Promise.all(
      names.map(async (name) => {
        const bytes = await readRegularFile(join(this.dir, name), atMost + 1).catch(() => null);
        return bytes !== null && bytes.length > atMost ? null : bytes;
      }),
    );
  }

  /** Waits until the pages are on disk. It replaces existing files, too, because they may be damaged. */
  async write(names: readonly string[], pages: ReadonlyMap<string, Uint8Array>): Promise<void> {
    if (names.length === 0) return;
    await this.#makeFolder();
    for (const name of names) {
      const path = join(this.dir, name);
      const temporary = `${path}.${newToken()}.tmp`;
      try {
        await writePrivateFile(temporary, pages.get(name) as Uint8Array, 0o600, this.document);
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => {});
        throw error;
      }
    }
    await syncFolder(this.dir);
    // The pages are written, even if this fails.
    await removeRests(join(this.dir, names.at(-1) as string)).catch(() => {});
  }

  /** The names for which there is no file. */
  missingNow(names: Iterable<string>): string[] {
    return [...names].filter(
      (name) => statSync(join(this.dir, name), { throwIfNoEntry: false }) === undefined,
    );
  }

  /** Removes all pages whose names do not occur in the document. */
  keepNow(document: Uint8Array): void {
    const named = new Set(new TextDecoder().decode(document).match(NAMES));
    for (const name of readdirSync(this.dir)) {
      if (!NAME.test(name) || named.has(`"${name}"`)) continue;
      try {
        unlinkSync(join(this.dir, name));
      } catch {
        // It may be a folder, for example. The others can still be removed.
      }
    }
  }

  /**
   * If root creates the folder, it gets the owner and mode of its parent, so that a server that does not run as root can read it.
   */
  async #makeFolder(): Promise<void> {
    const isNew = statSync(this.dir, { throwIfNoEntry: false }) === undefined;
    await makePrivateFolder(this.dir);
    if (!isNew || process.geteuid?.() !== 0) return;
    const { mode, uid, gid } = await stat(dirname(this.dir));
    await chown(this.dir, uid, gid);
    await chmod(this.dir, mode & 0o777);
  }
}
