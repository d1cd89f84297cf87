import { statSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AmeshError } from '../core/errors';
import type { DocumentStore } from './document-store';

// After a kill inside the lock the next writer waits until it is stale, and one more try.
const LOCK = {
  stale: 2000,
  update: 1000,
  realpath: false,
  retries: { retries: 300, minTimeout: 10, maxTimeout: 100, factor: 1.3, randomize: true },
} as const;

/** Documents as files of one folder, 0600 in a folder of 0700. */
export class FileStore implements DocumentStore {
  /** @param dir an absolute path; made at the first write */
  constructor(readonly dir: string) {}

  async read(key: string): Promise<Uint8Array | null> {
    try {
      return await readFile(this.#path(key));
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async swap(key: string, expected: Uint8Array | null, next: Uint8Array): Promise<boolean> {
    return this.locked(key, async (assertHeld) => {
      await this.#removeRests(key);
      const current = await this.read(key);
      const same =
        current === null || expected === null
          ? current === expected
          : Buffer.compare(current, expected) === 0;
      if (!same) return false;
      const { default: writeFileAtomic } = await import('write-file-atomic');
      assertHeld();
      await writeFileAtomic(this.#path(key), Buffer.from(next), { mode: 0o600 });
      await syncFolder(this.dir);
      return true;
    });
  }

  /**
   * Runs `action` while no other process is inside the same lock.
   *
   * @param name a file name of this folder; `<name>.lock` is the lock
   * @param action gets a function that throws where the lock was lost, to be called right before something is changed
   * @throws AmeshError `store_busy` where the lock stays taken for some 20 s
   */
  async locked<T>(name: string, action: (assertHeld: () => void) => Promise<T>): Promise<T> {
    const path = this.#path(name);
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
    // Loaded at the first write: servers mostly read, and this library listens to signals.
    const { default: lockfile } = await import('proper-lockfile');
    let lost = false;
    const onCompromised = () => {
      lost = true;
    };
    const release = await lockfile.lock(path, { ...LOCK, onCompromised }).catch((error) => {
      if ((error as { code?: string }).code !== 'ELOCKED') throw error;
      throw new AmeshError('store_busy', `Another process holds the lock ${path}.lock.`);
    });
    try {
      return await action(() => {
        // Held up so long that somebody else took the lock over (a laptop that slept): they may be writing now.
        if (lost) throw new AmeshError('store_busy', `The lock ${path}.lock was lost.`);
      });
    } finally {
      await release().catch(() => {});
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

  /** What a writer killed half-way has left. Only called under the lock, so nobody is writing there. */
  async #removeRests(key: string): Promise<void> {
    for (const name of await readdir(this.dir)) {
      if (name.startsWith(`${key}.`) && /^\.\d+$/.test(name.slice(key.length)))
        await rm(join(this.dir, name), { force: true });
    }
  }
}

/** Without it a power cut can undo the rename, though the file itself is on the disk. */
async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r').catch(() => null); // Windows opens no folders
  try {
    await folder?.sync();
  } finally {
    await folder?.close();
  }
}

export function isMissing(error: unknown): boolean {
  const code = (error as { code?: string } | null)?.code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
