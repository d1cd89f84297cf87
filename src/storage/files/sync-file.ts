import { fsync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';

const sync = promisify(fsync);

/** Waits until what was written is on the disk. The handle's own `sync()` is not there under Yarn Plug'n'Play. */
export function syncFile(file: FileHandle): Promise<void> {
  return sync(file.fd);
}
