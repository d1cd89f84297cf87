import { existsSync, realpathSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** The git work tree in which a folder lies, an absolute path; null where there is none. The folder need not exist. */
export function workTreeOf(dir: string): string | null {
  for (let path = resolved(dir); ; path = dirname(path)) {
    if (existsSync(join(path, '.git'))) return path; // a file, in a linked work tree or a submodule
    if (dirname(path) === path) return null;
  }
}

/** Where links lead: git asks from there, too. */
function resolved(dir: string): string {
  try {
    return realpathSync(dir);
  } catch {
    return dirname(dir) === dir ? dir : join(resolved(dirname(dir)), '-');
  }
}

/** Keeps a folder out of `git add`, where it lies in a work tree. Leaves a .gitignore that is there as it is. */
export async function ignoreInGit(dir: string): Promise<void> {
  if (workTreeOf(dir) === null) return;
  await writeFile(join(dir, '.gitignore'), '*\n', { flag: 'wx', mode: 0o600 }).catch((error) => {
    if (error.code !== 'EEXIST') throw error;
  });
}
