import { chmod, type FileHandle, lstat, mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { syncFile } from './sync-file';

/**
 * Creates a folder that only its owner can access, whatever the umask. An existing folder stays unchanged.
 *
 * @throws AmeshError `allow_list_unavailable` if there is a file in its place
 */
export async function makePrivateFolder(path: string): Promise<void> {
  if (!(await makeFolder(path)) || ((await lstat(path)).mode & 0o777) === 0o700) return;
  await chmod(path, 0o700);
}

/**
 * Creates a folder and its parents. Node's `recursive` loops for ever on a file system such as /proc, which reports that a
 * folder can have no entries.
 *
 * @returns whether it was created
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
    const { code } = error as { code?: unknown };
    if (code === 'EEXIST' && (await isFolder(path))) return false;
    if (code === 'EEXIST' || code === 'ENOTDIR') throw notAFolder(path, error);
    throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false, // a symbolic link to nothing
  );
}

function notAFolder(path: string, cause: unknown): AmeshError {
  return new AmeshError(
    SERVER_CODES.allow_list_unavailable,
    `${path} must be a folder, but there is a file in its place or above it.`,
    {
      fix: 'Move that file away.',
      cause,
    },
  );
}

/**
 * Writes a new file and waits until it is on disk.
 *
 * @param mode the exact mode, whatever the umask
 * @param replaces the file that it will replace, if any
 * @throws EEXIST if the file exists
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
 * Keeps the owner of a file that is replaced in a folder of root: the server of another user may have to read it. In a folder of
 * another user, root does not give the file away, since that user could have put anything there.
 */
async function keepOwner(file: FileHandle, replaces: string): Promise<void> {
  const folder = await stat(dirname(replaces));
  if (folder.uid !== 0) return;
  const before = await lstat(replaces).catch(() => null); // there is no such file yet
  if (before?.isFile() && before.uid !== 0) await file.chown(before.uid, before.gid);
}
