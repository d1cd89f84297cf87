import { existsSync, realpathSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** The git work tree that contains a folder, as an absolute path; null if there is none. The folder need not exist. */
export function workTreeOf(dir: string): string | null {
  for (let path = resolved(dir); ; path = dirname(path)) {
    if (existsSync(join(path, '.git'))) return path; // in a linked work tree or a submodule it is a file
    if (dirname(path) === path) return null;
  }
}

/** Resolves symbolic links, as git does. */
function resolved(dir: string): string {
  try {
    return realpathSync(dir);
  } catch {
    return dirname(dir) === dir ? dir : join(resolved(dirname(dir)), '-');
  }
}

/** Keeps a folder out of `git add` if it is in a work tree. An existing .gitignore stays unchanged. */
export async function ignoreInGit(dir: string): Promise<void> {
  if (workTreeOf(dir) === null) return;
  await writeFile(join(dir, '.gitignore'), '*\n', { flag: 'wx', mode: 0o600 }).catch((error) => {
    if (error.code !== 'EEXIST') throw error;
  });
}
