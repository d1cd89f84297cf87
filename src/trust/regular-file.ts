import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';

// A pipe without a writer would keep whoever opens it waiting for ever. Windows has neither.
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * Reads a file that has an end: a pipe, a socket or a device under its name may have none.
 *
 * @throws NodeJS.ErrnoException; `ENOTFILE` for what is no regular file
 */
export async function readRegularFile(path: string): Promise<Uint8Array> {
  const file = await open(path, FLAGS);
  try {
    assertNoStream(await file.stat(), path);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** As {@link readRegularFile}, in this turn. */
export function readRegularFileSync(path: string): Uint8Array {
  const file = openSync(path, FLAGS);
  try {
    assertNoStream(fstatSync(file), path);
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

function assertNoStream(stats: Stats, path: string): void {
  if (stats.isFile() || stats.isDirectory()) return; // a folder says so when it is read
  throw Object.assign(new Error(`${path} is no regular file`), { code: 'ENOTFILE' });
}
