// Builds the three packages. With --if-needed only those whose sources are newer than what was built of them, and with
// --javascript without their declarations, which nothing that runs needs.
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const unbuild = join(root, 'node_modules/unbuild/dist/cli.mjs');
const cli = join(root, 'src/cli');

const packages = [
  { name: '@authmesh/sdk', dir: root, not: cli, hasTypes: true },
  { name: '@authmesh/cli', dir: cli },
  { name: '@authmesh/relay', dir: join(root, 'relay'), hasTypes: true },
];

const isIfNeeded = process.argv.includes('--if-needed');
const isJavaScript = process.argv.includes('--javascript');
const env = { ...process.env, BUILD_DECLARATIONS: isJavaScript ? 'no' : 'yes' };

await Promise.all(
  packages.map(async ({ name, dir, not, hasTypes }) => {
    const inputs = ['src', 'build.config.ts', 'package.json'].map((path) => newest(join(dir, path), not));
    const made = hasTypes && !isJavaScript ? '.d.mts' : '.mjs';
    if (isIfNeeded && newest(join(dir, 'dist'), undefined, made) > Math.max(...inputs)) return;
    console.error(`Building ${name}…`);
    await promisify(execFile)(process.execPath, [unbuild], { cwd: dir, env }).catch((error) => {
      console.error(error.stdout, error.stderr);
      process.exitCode = 1;
    });
  }),
);

/** When the newest file below a path was changed, of those that end so; 0 where there is none. */
function newest(path, not, ending = '') {
  if (path === not || !existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return path.endsWith(ending) ? stat.mtimeMs : 0;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name), not, ending)));
}
