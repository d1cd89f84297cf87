import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';

// Without these flags, opening a pipe without a writer would wait for ever. Windows lacks both.
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * Reads a regular file, and nothing else: a pipe, a socket or a device might never end.
 *
 * @param atMost the most bytes that the caller needs
 * @throws NodeJS.ErrnoException; `ENOTFILE` if it is not a regular file
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

/** Like {@link readRegularFile}, but synchronous. */
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
  if (stats.isFile() || stats.isDirectory()) return; // reading a folder fails anyway
  throw Object.assign(new Error(`${path} is not a regular file`), { code: 'ENOTFILE' });
}
