import { statSync } from 'node:fs';
import { rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import type { DocumentStore, PageChanges } from '../document-store';
import { STORAGE_CODES } from '../errors/codes';
import { FileLock, removeRests } from './file-lock';
import { PageFiles } from './page-files';
import { makePrivateFolder } from './private-file';
import { readRegularFile, readRegularFileSync } from './regular-file';
import { syncFolder } from './sync-folder';

/** The folder for the pages of a list. */
const PAGES = 'list';

const NO_PAGES: PageChanges = { write: new Map(), remove: [] };

/** Documents as files in one folder, with modes 0600 and 0700. */
export class FileStore implements DocumentStore {
  readonly #pagesOf: (key: string) => string;

  /**
   * Creates the store, without reading or writing anything.
   *
   * @param dir an absolute path; created at the first write
   * @param pagesOf the name of the folder in `dir` for the pages of a document; default `list`
   */
  constructor(
    readonly dir: string,
    pagesOf: (key: string) => string = () => PAGES,
  ) {
    this.#pagesOf = pagesOf;
  }

  /** @throws AmeshError `allow_list_unavailable` for an existing file that cannot be read */
  async read(key: string, atMost?: number): Promise<Uint8Array | null> {
    const path = this.#path(key);
    return readRegularFile(path, atMost).catch((error) => absentOrThrow(path, error));
  }

  async readPages(key: string, names: readonly string[], atMost: number): Promise<(Uint8Array | null)[]> {
    return this.#pages(key).read(names, atMost);
  }

  async swap(
    key: string,
    expected: Uint8Array | null,
    next: Uint8Array,
    changes: PageChanges = NO_PAGES,
  ): Promise<boolean> {
    const path = this.#path(key);
    const content = new Uint8Array(next);
    const before = expected === null ? null : new Uint8Array(expected);
    const enough = (before?.length ?? 0) + 1; // one byte more shows that the file is longer
    if (!isSame(await this.read(key, enough), before)) return false; // avoids writing a file that would be discarded
    await makePrivateFolder(this.dir);
    const pages = this.#pages(key);
    let missing: readonly string[] = [...changes.write.keys()];
    for (;;) {
      await pages.write(missing, changes.write);
      const lock = await FileLock.take(path, content);
      // From here to the commit, everything runs in one turn, so that a kill rarely leaves a lock behind.
      let changed: boolean;
      try {
        changed = !isSame(readNow(path), before);
        missing = pages.missingNow(changes.write.keys());
      } catch (error) {
        lock.release();
        throw error;
      }
      if (changed) {
        lock.release();
        if (changes.write.size > 0) await this.#sweep(key);
        return false;
      }
      if (missing.length > 0) {
        lock.release(); // another writer has removed them, because no document named them yet
        continue;
      }
      if (!lock.commit(path)) continue;
      await syncFolder(this.dir).catch((cause) => {
        throw new AmeshError(STORAGE_CODES.store_unsynced, undefined, { cause });
      });
      // The change is done, even if this fails.
      await removeRests(path).catch(() => {});
      if (changes.remove.length > 0) await this.#sweep(key);
      return true;
    }
  }

  /** Removes pages that the document does not name, including those that a killed or slower writer left behind. */
  async #sweep(key: string): Promise<void> {
    await this.locked(key, async (assertHeld) => {
      const document = readNow(this.#path(key));
      assertHeld();
      if (document !== null) this.#pages(key).keepNow(document);
    }).catch(() => {}); // leftover pages only take up space
  }

  async discard(key: string, moreThan: number): Promise<void> {
    await this.locked(key, async (assertHeld) => {
      const { size } = await stat(this.#path(key));
      assertHeld();
      if (size > moreThan) await rm(this.#path(key));
    });
  }

  /**
   * Removes a file if its bytes are still `expected`.
   *
   * @returns false if they are not; nothing has changed then
   */
  async remove(key: string, expected: Uint8Array): Promise<boolean> {
    return this.locked(key, async (assertHeld) => {
      if (!isSame(await this.read(key), expected)) return false;
      assertHeld();
      await unlink(this.#path(key));
      await syncFolder(this.dir);
      return true;
    });
  }

  /**
   * Runs `action` while no other process holds the same lock.
   *
   * @param name a file name in this folder; the lock is `<name>.lock`, which `swap` takes, too, to write that file
   * @param action receives a function that throws if the lock was lost (for example after a laptop slept); call it right
   *   before changing something
   * @throws AmeshError `store_busy` if others hold the lock for 20 s
   */
  async locked<T>(name: string, action: (assertHeld: () => void) => Promise<T>): Promise<T> {
    await makePrivateFolder(this.dir);
    const lock = await FileLock.take(this.#path(name), new Uint8Array());
    try {
      return await action(() => lock.assertHeld());
    } finally {
      lock.release();
    }
  }

  stamp(key: string): string {
    try {
      const { ino, size, mtimeNs, ctimeNs } = statSync(this.#path(key), { bigint: true });
      return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
    } catch (error) {
      return isMissing(error) ? 'absent' : `unreadable ${(error as { code?: string }).code}`;
    }
  }

  #path(key: string): string {
    return join(this.dir, key);
  }

  #pages(key: string): PageFiles {
    return new PageFiles(join(this.dir, this.#pagesOf(key)), this.#path(key));
  }
}

function readNow(path: string): Uint8Array | null {
  try {
    return readRegularFileSync(path);
  } catch (error) {
    return absentOrThrow(path, error);
  }
}

function absentOrThrow(path: string, error: unknown): null {
  if (isMissing(error)) return null;
  const code = (error as { code?: string }).code ?? 'unknown error';
  if (code === 'ENOTFILE' || code === 'EISDIR')
    throw new AmeshError(SERVER_CODES.allow_list_unavailable, `${path} is not a regular file.`, {
      fix: 'Restore the right file.',
      cause: error,
    });
  throw new AmeshError(SERVER_CODES.allow_list_unavailable, `${path} cannot be read (${code}).`, {
    cause: error,
  });
}

function isSame(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}

export function isMissing(error: unknown): boolean {
  const code = (error as { code?: string } | null)?.code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
