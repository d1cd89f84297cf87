// Packs the three packages into a folder: the argument. With AMESH_PACKS set, `packInto` copies the tarballs that lie in that
// folder instead, so that CI packs once for all that installs them.
import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const isTarball = (name) => name.endsWith('.tgz');

/** @returns the paths of the tarballs in the folder */
export function packInto(folder) {
  const from = process.env.AMESH_PACKS;
  if (from) {
    for (const name of readdirSync(from).filter(isTarball))
      copyFileSync(join(from, name), join(folder, name));
  } else {
    const args = ['pack', '--workspaces', '--include-workspace-root', '--pack-destination', resolve(folder)];
    execFileSync('npm', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }
  return readdirSync(folder)
    .filter(isTarball)
    .map((name) => join(folder, name));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const made = packInto(process.argv[2] ?? '.');
  console.log(made.join('\n'));
  process.exitCode = made.length === 3 ? 0 : 1;
}
