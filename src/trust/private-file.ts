import { constants, type Stats } from 'node:fs';
import { chmod, type FileHandle, lstat, mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes a folder that is its owner's alone, whatever the umask; one that is there stays as it is. */
export async function makePrivateFolder(path: string): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode: 0o700 });
  if (made === undefined) return;
  if (((await lstat(path)).mode & 0o777) !== 0o700) await chmod(path, 0o700);
  if (!isRoot()) return;
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    await giveToOwnerOf(await stat(dirname(path)), folder);
  } finally {
    await folder.close();
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
    if (isRoot()) await giveToOwnerOf(await ownerFor(path, replaces), file);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * What root writes for somebody stays readable for them: a server has to survive `sudo amesh revoke`.
 * By handle and not by path, which the other user could have turned into a link meanwhile.
 */
async function giveToOwnerOf({ uid, gid }: Stats, file: FileHandle): Promise<void> {
  if (uid !== 0) await file.chown(uid, gid);
}

async function ownerFor(path: string, replaces: string | undefined): Promise<Stats> {
  const folder = stat(dirname(path));
  return replaces === undefined ? folder : lstat(replaces).catch(() => folder);
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
