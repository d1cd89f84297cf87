// Builds the three packages. With --if-needed only those whose sources are newer than what was built of them.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const unbuild = join(root, 'node_modules/unbuild/dist/cli.mjs');

// The SDK first: the types of the CLI come from what was built of it.
const packages = [
  { dir: '.', sources: ['src', 'build.config.ts', 'package.json'], not: join(root, 'src/cli') },
  { dir: 'src/cli', sources: ['src', 'build.config.ts', 'package.json'] },
  { dir: 'relay', sources: ['src', 'build.config.ts', 'package.json'] },
];

const ifNeeded = process.argv.includes('--if-needed');
let rebuilt = false;
for (const { dir, sources, not } of packages) {
  const built = newest(join(root, dir, 'dist'));
  if (ifNeeded && !rebuilt && built > Math.max(...sources.map((path) => newest(join(root, dir, path), not))))
    continue;
  console.error(`Building ${dir === '.' ? '@authmesh/sdk' : dir}…`);
  execFileSync(process.execPath, [unbuild], { cwd: join(root, dir), stdio: ['ignore', 'ignore', 'inherit'] });
  rebuilt = true;
}

/** When the newest file below a path was changed; 0 where there is none. */
function newest(path, not) {
  if (path === not || !existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name), not)));
}
