import { randomBytes } from 'node:crypto';
import { readdirSync, renameSync, rmdirSync, statSync, unlinkSync, utimesSync } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AmeshError } from '../../core/errors/amesh-error';
import { STORAGE_CODES } from '../errors/codes';
import { makePrivateFolder, writePrivateFile } from './private-file';

/** A lock without a sign of life for this long belongs to a dead process, in milliseconds. */
const STALE_MS = 2000;
const ALIVE_EVERY_MS = 500;
const WAIT_MS = 20_000;
/** No process waits this long for a lock, so an older file belongs to a dead process, in milliseconds. */
const REST_MS = 60_000;

// The error codes of rename for an existing folder that is not empty; the last one on Windows.
const TAKEN = new Set<unknown>(['ENOTEMPTY', 'EEXIST', 'EPERM']);
// The end of the name of a temporary file or folder of amesh. Killed processes leave some behind.
const REST = /\.[A-Za-z0-9_-]{22}\.tmp$/;

/**
 * A lock between processes: the folder `<path>.lock` with one file in it, which belongs to the holder.
 *
 * The folder is created elsewhere and moved here, which only one process can do. A process that finds a folder without a
 * sign of life moves it away, with the holder's file. So if a suspended holder continues later, it finds no file to move:
 * a late {@link FileLock.commit} changes nothing.
 */
export class FileLock {
  readonly #lock: string;
  readonly #file: string;
  readonly #alive: NodeJS.Timeout;

  private constructor(path: string, token: string) {
    this.#lock = `${path}.lock`;
    this.#file = join(this.#lock, token);
    this.#alive = setInterval(() => this.#touch(), ALIVE_EVERY_MS).unref();
  }

  /**
   * Waits for the lock and takes it, in the last turn before it resolves.
   *
   * @param content what {@link FileLock.commit} will move into place; it is on disk before the lock is taken
   * @throws AmeshError `store_busy` if others hold it for 20 s
   */
  static async take(path: string, content: Uint8Array): Promise<FileLock> {
    const token = newToken();
    const folder = `${path}.${token}.tmp`;
    try {
      await makePrivateFolder(folder);
      await writePrivateFile(join(folder, token), content, 0o600, path);
      const startedAt = performance.now();
      let holder: string | null = null;
      let holderSince = startedAt;
      for (;;) {
        try {
          renameSync(folder, `${path}.lock`);
          return new FileLock(path, token);
        } catch (error) {
          if (codeOf(error) === 'ENOTDIR') throw noFolder(`${path}.lock`);
          if (!TAKEN.has(codeOf(error))) throw error;
        }
        const now = performance.now(); // the wall clock may jump, and the clock of a file server may differ
        const current = holderOf(`${path}.lock`);
        if (current !== holder) {
          holder = current;
          holderSince = now;
        } else if (now - holderSince > STALE_MS) {
          await evict(path);
        }
        if (now - startedAt > WAIT_MS)
          throw new AmeshError(STORAGE_CODES.store_busy, `Another process holds the lock ${path}.lock.`);
        await sleep(2 + Math.random() * 20);
      }
    } catch (error) {
      await removeQuietly(folder);
      throw error;
    }
  }

  /**
   * Moves the content to `path` and releases the lock, in one step.
   *
   * @returns false if the lock was lost in the meantime; nothing has changed then
   */
  commit(path: string): boolean {
    clearInterval(this.#alive);
    try {
      renameSync(this.#file, path);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      this.release();
      throw error;
    }
    this.#removeFolder();
    return true;
  }

  /** Releases the lock. A lost lock stays with its new holder. */
  release(): void {
    clearInterval(this.#alive);
    try {
      unlinkSync(this.#file);
    } catch {
      return;
    }
    this.#removeFolder();
  }

  /** @throws AmeshError `store_busy` if another process has taken over the lock, and may be writing now */
  assertHeld(): void {
    try {
      statSync(this.#file);
    } catch {
      throw new AmeshError(STORAGE_CODES.store_busy, `The lock ${this.#lock} was lost.`);
    }
  }

  #touch(): void {
    const now = new Date();
    try {
      utimesSync(this.#file, now, now);
    } catch {
      // The lock was lost. commit() and assertHeld() report that.
    }
  }

  #removeFolder(): void {
    try {
      rmdirSync(this.#lock);
    } catch {
      // Another holder has moved its own folder over the empty one.
    }
  }
}

/**
 * Removes the remains of killed processes from a folder.
 *
 * @param newest a file there that was just written: a file server's clock may differ from ours
 */
export async function removeRests(newest: string): Promise<void> {
  const dir = dirname(newest);
  const now = await mtimeOf(newest);
  for (const name of await readdir(dir)) {
    if (!REST.test(name)) continue;
    const path = join(dir, name);
    if (now - (await mtimeOf(path)) > REST_MS) await removeQuietly(path);
  }
}

/** Unix milliseconds; NaN if the file is gone. */
async function mtimeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => Number.NaN,
  );
}

/** 16 random bytes in base64url. */
export function newToken(): string {
  return randomBytes(16).toString('base64url');
}

/** The error for something at the lock's path that is not a lock, and so will not go away. */
function noFolder(lock: string): AmeshError {
  return new AmeshError(STORAGE_CODES.store_busy, `${lock} is the place of a lock, but not a folder.`, {
    fix: 'Remove it, and try again. No changes were made.',
  });
}

/** The holder of a lock, and its last sign of life. */
function holderOf(lock: string): string {
  try {
    const [token = ''] = readdirSync(lock);
    return `${token} ${statSync(join(lock, token), { bigint: true }).mtimeNs}`;
  } catch {
    return ''; // already gone
  }
}

async function evict(path: string): Promise<void> {
  const away = `${path}.${newToken()}.tmp`;
  try {
    await rename(`${path}.lock`, away);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return; // another process was faster
    throw error;
  }
  await removeQuietly(away);
}

/** Files of another user may not be removable. That must not turn a successful write into a failure. */
async function removeQuietly(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => {});
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}
