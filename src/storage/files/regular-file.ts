import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';

// Without these flags, opening a pipe that has no writer would wait for ever. Windows has neither.
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * Reads a file that has an end: a pipe, a socket or a device under its name may have none.
 *
 * @param atMost nobody wants more bytes than these
 * @throws NodeJS.ErrnoException; `ENOTFILE` for what is no regular file
 */
export async function readRegularFile(path: string, atMost = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
  const file = await open(path, FLAGS);
  try {
    const stats = await file.stat();
    assertNoStream(stats, path);
    if (stats.size <= atMost) return await file.readFile();
    const { buffer, bytesRead } = await file.read(new Uint8Array(atMost), 0, atMost, 0);
    return buffer.subarray(0, bytesRead);
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
