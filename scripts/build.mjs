// Builds the three packages. With --if-needed only those whose sources are newer than what was built of them.
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const unbuild = join(root, 'node_modules/unbuild/dist/cli.mjs');
const cli = join(root, 'src/cli');

const packages = [
  { name: '@authmesh/sdk', dir: root, not: cli },
  { name: '@authmesh/cli', dir: cli },
  { name: '@authmesh/relay', dir: join(root, 'relay') },
];

const ifNeeded = process.argv.includes('--if-needed');
await Promise.all(
  packages.map(async ({ name, dir, not }) => {
    const sources = ['src', 'build.config.ts', 'package.json'].map((path) => newest(join(dir, path), not));
    if (ifNeeded && newest(join(dir, 'dist')) > Math.max(...sources)) return;
    console.error(`Building ${name}…`);
    await promisify(execFile)(process.execPath, [unbuild], { cwd: dir }).catch((error) => {
      console.error(error.stdout, error.stderr);
      process.exitCode = 1;
    });
  }),
);

/** When the newest file below a path was changed; 0 where there is none. */
function newest(path, not) {
  if (path === not || !existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name), not)));
}
