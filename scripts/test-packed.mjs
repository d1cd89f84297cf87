// Runs the tests on what would be published: the three packages are packed and unpacked into a project that has the tests
// and no sources. Arguments are those of Vitest. Tests that reach into the sources are left out, and named.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packInto } from './pack.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const project = mkdtempSync(join(tmpdir(), 'amesh-packed-'));
const modules = join(project, 'node_modules');

/** Packages, and where the tests look for their commands. */
const packages = { sdk: null, cli: 'src/cli', relay: 'relay' };
/** About the repository itself, and not about what its packages do. */
const ABOUT_SOURCES = [/^test\/(?:build|docs|types)\//, /^test\/imports\.test\.ts$/];
/** Workers take a sealed list alone, and these ask that of the vectors; test/workers has the packages there. */
const NEED_SOURCES = [/^test\/contract\/(?:fetch|hono)-workerd\.test\.ts$/];
/** These pack and install by themselves. */
const PACK = [/^test\/relay\/(?:packed|self-hosting)\.test\.ts$/, /^test\/redis\/without-ioredis\.test\.ts$/];

try {
  unpack();
  const left = leftOut();
  console.log(
    `Left out, since they look into the sources, or pack by themselves (${left.length} files):\n  ${left.join('\n  ')}\n`,
  );
  const excludes = left.flatMap((path) => ['--exclude', path]);
  const { status } = spawnSync(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--root', project, ...excludes, ...process.argv.slice(2)],
    { cwd: project, stdio: 'inherit', env: { ...process.env, AMESH_PACKED: '1' } },
  );
  process.exitCode = status ?? 1;
} finally {
  rmSync(project, { recursive: true, force: true, maxRetries: 20 });
}

function unpack() {
  packInto(project);
  mkdirSync(join(modules, '@authmesh'), { recursive: true });
  for (const name of readdirSync(join(root, 'node_modules'))) {
    // The caches are written to.
    if (!['@authmesh', '.cache', '.vite', '.experimental-vitest-cache'].includes(name))
      symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  for (const [name, place] of Object.entries(packages)) {
    const tarball = readdirSync(project).find((file) => new RegExp(`^authmesh-${name}-.*\\.tgz$`).test(file));
    const target = join(modules, '@authmesh', name);
    mkdirSync(target);
    execFileSync('tar', ['-xzf', join(project, tarball), '-C', target, '--strip-components=1']);
    if (place === null) continue;
    // What npm could not lift, since the root has another version of it.
    const own = join(root, place, 'node_modules');
    if (existsSync(own)) symlinkSync(own, join(target, 'node_modules'));
    mkdirSync(dirname(join(project, place)), { recursive: true });
    symlinkSync(target, join(project, place));
  }
  cpSync(join(root, 'test'), join(project, 'test'), { recursive: true });
  cpSync(join(root, 'vitest.config.ts'), join(project, 'vitest.config.ts'));
  for (const name of ['docs', 'skills'])
    symlinkSync(join(modules, '@authmesh/sdk', name), join(project, name));
  writeFileSync(join(project, 'package.json'), '{"private":true,"type":"module"}');
  const tsconfig = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'));
  tsconfig.compilerOptions.paths = {};
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(tsconfig));
}

/** The test files from which imports, or the paths of scripts that they start, lead into the sources. */
function leftOut() {
  const files = readdirSync(join(project, 'test'), { recursive: true })
    .map((path) => `test/${path}`)
    .filter((path) => path.endsWith('.test.ts'));
  const known = new Map();
  return files.filter(
    (path) =>
      [...ABOUT_SOURCES, ...NEED_SOURCES, ...PACK].some((pattern) => pattern.test(path)) ||
      reaches(path, known),
  );
}

function reaches(path, known) {
  if (known.has(path)) return known.get(path);
  known.set(path, false); // a circle leads nowhere new
  const text = readFileSync(join(project, path), 'utf8').replace(/^import type [^;]*;$/gm, '');
  const found = [...text.matchAll(/(?:from|import|mock)\s*\(?\s*'(\.[^']+)'|'(test\/[^']+\.ts)'/g)].some(
    ([, imported, script]) => {
      const to = script ?? relative(project, resolve(project, dirname(path), imported));
      if (/^(?:src|relay)\//.test(to)) return true;
      const file = [to, `${to}.ts`].find((name) => name.endsWith('.ts') && existsSync(join(project, name)));
      return file !== undefined && reaches(file, known);
    },
  );
  known.set(path, found);
  return found;
}
