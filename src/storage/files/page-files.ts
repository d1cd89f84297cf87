import { readdirSync, statSync, unlinkSync } from 'node:fs';
import { chmod, chown, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { newToken, removeRests } from './file-lock';
import { makePrivateFolder, writePrivateFile } from './private-file';
import { readRegularFile } from './regular-file';
import { syncFolder } from './sync-folder';

/** A file of somebody else in the folder is none of ours to remove. */
const NAME = /^[A-Za-z0-9_-]{43}$/;
const NAMES = /"[A-Za-z0-9_-]{43}"/g;

/** Pages of a document as files of one folder, each under the hash of its bytes. */
export class PageFiles {
  /**
   * @param dir of the pages; made at the first write
   * @param document the file that names them: who may read that may read them
   */
  constructor(
    readonly dir: string,
    readonly document: string,
  ) {}

  /** What cannot be read concerns the devices on that page and nobody else, so it counts as not there. */
  read(names: readonly string[], atMost: number): Promise<(Uint8Array | null)[]> {
    return Promise.all(
      names.map(async (name) => {
        const bytes = await readRegularFile(join(this.dir, name), atMost + 1).catch(() => null);
        return bytes !== null && bytes.length > atMost ? null : bytes;
      }),
    );
  }

  /** On the disk when it resolves, also where there was a file of the name before: it may have been damaged. */
  async write(names: readonly string[], pages: ReadonlyMap<string, Uint8Array>): Promise<void> {
    if (names.length === 0) return;
    await this.#makeFolder();
    for (const name of names) {
      const path = join(this.dir, name);
      const made = `${path}.${newToken()}.tmp`;
      try {
        await writePrivateFile(made, pages.get(name) as Uint8Array, 0o600, this.document);
        await rename(made, path);
      } catch (error) {
        await rm(made, { force: true }).catch(() => {});
        throw error;
      }
    }
    await syncFolder(this.dir);
    // No page depends on these.
    await removeRests(join(this.dir, names.at(-1) as string)).catch(() => {});
  }

  /** Those of the names that have no file. */
  missingNow(names: Iterable<string>): string[] {
    return [...names].filter(
      (name) => statSync(join(this.dir, name), { throwIfNoEntry: false }) === undefined,
    );
  }

  /** Removes all pages whose names do not occur in a document. */
  keepNow(document: Uint8Array): void {
    const named = new Set(new TextDecoder().decode(document).match(NAMES));
    for (const name of readdirSync(this.dir)) {
      if (NAME.test(name) && !named.has(`"${name}"`)) unlinkSync(join(this.dir, name));
    }
  }

  /** What root makes in a folder that a server reads is the server's to read, too. */
  async #makeFolder(): Promise<void> {
    const isNew = statSync(this.dir, { throwIfNoEntry: false }) === undefined;
    await makePrivateFolder(this.dir);
    if (!isNew || process.geteuid?.() !== 0) return;
    const { mode, uid, gid } = await stat(dirname(this.dir));
    await chown(this.dir, uid, gid);
    await chmod(this.dir, mode & 0o777);
  }
}
