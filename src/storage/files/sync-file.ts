import { fsync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';

const sync = promisify(fsync);

/** Waits until written data is on disk. Under Yarn Plug'n'Play, the handle has no `sync()`. */
export function syncFile(file: FileHandle): Promise<void> {
  return sync(file.fd);
}
