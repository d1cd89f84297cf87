import { chmod, type FileHandle, lstat, mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFile } from './sync-file';

/** Makes a folder that is its owner's alone, whatever the umask; one that is there stays as it is. */
export async function makePrivateFolder(path: string): Promise<void> {
  if (!(await makeFolder(path)) || ((await lstat(path)).mode & 0o777) === 0o700) return;
  await chmod(path, 0o700);
}

/**
 * With all above it. The `recursive` of Node tries for ever where a file system says that nothing can be in a folder,
 * as /proc does.
 *
 * @returns whether it was made
 */
async function makeFolder(path: string): Promise<boolean> {
  const make = () => mkdir(path, { mode: 0o700 });
  try {
    await make().catch(async (error) => {
      const parent = dirname(path);
      if (error.code !== 'ENOENT' || parent === path) throw error;
      await makeFolder(parent);
      await make();
    });
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'EEXIST' || !(await stat(path)).isDirectory()) throw error;
    return false;
  }
}

/**
 * Writes a new file and waits until it is on the disk.
 *
 * @param mode exact, whatever the umask
 * @param replaces the file whose place it will take, if any
 * @throws EEXIST where there is one
 */
export async function writePrivateFile(
  path: string,
  bytes: Uint8Array,
  mode: number,
  replaces?: string,
): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(bytes);
    await file.chmod(mode);
    if (replaces !== undefined && process.geteuid?.() === 0) await keepOwner(file, replaces);
    await syncFile(file);
  } finally {
    await file.close();
  }
}

/**
 * In a folder of root's a file may be somebody else's to read, such as a server's, and stays so. In a folder of another
 * user root gives nothing away: they could put anything under the name.
 */
async function keepOwner(file: FileHandle, replaces: string): Promise<void> {
  const folder = await stat(dirname(replaces));
  if (folder.uid !== 0) return;
  const before = await lstat(replaces).catch(() => null); // not there yet
  if (before?.isFile() && before.uid !== 0) await file.chown(before.uid, before.gid);
}
