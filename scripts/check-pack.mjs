// Packs the three packages, installs the tarballs as a user would, and looks at what came out.
// The argument --keep leaves the folder where it is. --from FOLDER takes the tarballs that lie there in place of packing.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compareExports } from './declared-exports.mjs';
import { packInto } from './pack.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const work = mkdtempSync(join(tmpdir(), 'amesh-pack-'));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const subpaths = Object.keys(manifest.exports).filter((path) => path !== './package.json');
const specifiers = subpaths.map((path) => join('@authmesh/sdk', path));

const strict = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2023', '--types', 'node'];

let passed = 0;
let failed = 0;
const tarballs = [];

const from = process.argv.indexOf('--from');
if (from !== -1) process.env.AMESH_PACKS = resolve(process.argv[from + 1] ?? '');
check('the three packages pack', () => {
  tarballs.push(...packInto(work));
  if (tarballs.length !== 3) throw new Error(`packed ${tarballs.length} packages`);
});

check('publint finds nothing', () => {
  for (const tarball of tarballs) run(bin('publint'), ['run', tarball, '--strict'], root);
});

check('are the types wrong finds nothing', () => {
  const sdk = tarballs.find((path) => path.includes('-sdk-'));
  run(bin('attw'), [sdk, '--profile', 'esm-only', '--exclude-entrypoints', './package.json'], root);
});

const project = join(work, 'project');
check('the tarballs install into an empty folder, without a warning', () => {
  mkdirSync(project);
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'empty', private: true, type: 'module' }),
  );
  const { express, fastify, hono, typescript } = manifest.devDependencies;
  const output = install([...tarballs, `express@${express}`], project);
  // Only for the checks below: types, and a compiler.
  const types = ['@types/express', '@types/node'].map((name) => `${name}@${manifest.devDependencies[name]}`);
  install(
    ['--save-dev', `typescript@${typescript}`, `fastify@${fastify}`, `hono@${hono}`, ...types],
    project,
  );
  if (/EBADENGINE|ERESOLVE|peer dep/i.test(output)) throw new Error(output);
});

check('unstorage, ioredis and frameworks other than the one asked for do not come with it', () => {
  const alone = join(work, 'alone');
  mkdirSync(alone);
  writeFileSync(join(alone, 'package.json'), JSON.stringify({ name: 'alone', private: true }));
  install(
    tarballs.filter((path) => path.includes('-sdk-')),
    alone,
  );
  const installed = readdirSync(join(alone, 'node_modules'));
  for (const name of ['unstorage', 'ioredis', '@napi-rs', 'express', 'fastify', 'hono']) {
    if (installed.includes(name)) throw new Error(`${name} was installed`);
  }
  // The middleware for Hono refuses with Hono's own exception, so it needs the framework that it is for.
  const others = specifiers.filter((specifier) => specifier !== '@authmesh/sdk/hono');
  run(process.execPath, ['--input-type=module', '-e', imports(others)], alone);
});

check('every subpath is imported', () => {
  run(process.execPath, ['--input-type=module', '-e', imports()], project);
});

check('what the types declare is what the modules export, in every condition', () => {
  const differences = ['sdk', 'relay', 'cli'].flatMap((name) =>
    compareExports(join(project, 'node_modules/@authmesh', name)),
  );
  if (differences.length > 0) throw new Error(differences.join('\n'));
});

check("the types of every subpath resolve, and the user's code compiles", () => {
  const uses = specifiers.map(
    (specifier, i) => `import * as m${i} from '${specifier}';\nexport const u${i}: object = m${i};`,
  );
  writeFileSync(join(project, 'subpaths.ts'), uses.join('\n'));
  writeFileSync(
    join(project, 'server.ts'),
    `import express from 'express';
import { amesh } from '@authmesh/sdk';
const app = express();
app.use(express.text({ type: '*/*' }));
app.use('/api', amesh.verify());
app.post('/api/orders', (req, res) => { res.json({ device: req.authMesh.deviceId, name: req.authMesh.friendlyName }); });
app.listen(3000);
`,
  );
  compile('subpaths.ts', 'server.ts');
});

check('req.authMesh of Express comes with the root, /express and /testing, and with no other entry', () => {
  for (const specifier of specifiers) {
    // The machine of a test mesh is an instance of the root.
    const isHere = ['@authmesh/sdk', '@authmesh/sdk/express', '@authmesh/sdk/testing'].includes(specifier);
    writeFileSync(
      join(project, 'request.ts'),
      `import type { Request } from 'express';
import type {} from '${specifier}';
${isHere ? '' : '// @ts-expect-error'}
export const nameOf = (request: Request): string => request.authMesh.friendlyName;
`,
    );
    // The declarations of libraries are checked above.
    compile7(...strict, '--module', 'nodenext', '--skipLibCheck', 'true', 'request.ts');
  }
});

const prefix = join(work, 'prefix');
check('amesh installs globally, has the version of the packages, and shows its help', () => {
  install(['--global', '--prefix', prefix, ...tarballs], work);
  const version = run(join(prefix, 'bin/amesh'), ['--version'], work).trim();
  if (version !== manifest.version) throw new Error(`amesh --version says ${version}`);
  const help = run(join(prefix, 'bin/amesh'), ['--help'], work);
  if (!help.includes('init')) throw new Error(help);
});

check('the demo runs from the tarballs', () => {
  cpSync(join(root, 'demo/demo.mjs'), join(project, 'demo.mjs'));
  process.stdout.write(run(process.execPath, ['demo.mjs'], project));
});

check('the demo runs with the global amesh', () => {
  const env = { ...process.env, AMESH_BIN: join(prefix, 'bin/amesh') };
  run(process.execPath, ['demo.mjs'], project, env);
});

check('the types need no framework that is not used', () => {
  for (const name of ['express', 'fastify', 'hono'])
    rmSync(join(project, `node_modules/${name}`), { recursive: true });
  rmSync(join(project, 'node_modules/@types/express'), { recursive: true });
  writeFileSync(
    join(project, 'plain.ts'),
    `import { createServer } from 'node:http';
import { amesh } from '@authmesh/sdk';
const verify = amesh.verify();
createServer((req, res) => verify(req, res, () => res.end())).listen(3000);
`,
  );
  const needsOne = /\/(?:hono|fastify)$/;
  const uses = specifiers.filter((specifier) => !needsOne.test(specifier));
  writeFileSync(
    join(project, 'others.ts'),
    uses.map((specifier, i) => `export * as m${i} from '${specifier}';`).join('\n'),
  );
  compile('plain.ts', 'others.ts');
});

if (process.argv.includes('--keep')) console.log(`Left in ${work}`);
else rmSync(work, { recursive: true, force: true, maxRetries: 20 });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function check(what, action) {
  const startedAt = performance.now();
  try {
    action();
    passed++;
    console.log(`✓ ${what} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`✗ ${what}\n${error.stdout ?? ''}${error.stderr ?? ''}${error.message}`);
  }
}

/**
 * Compiles files of the project as users do, with TypeScript 5 and in each way to find modules with TypeScript 7, the
 * declarations of libraries included.
 */
function compile(...files) {
  run(join(project, 'node_modules/.bin/tsc'), [...strict, '--module', 'nodenext', ...files], project);
  for (const module of ['nodenext', 'node16', 'preserve']) compile7(...strict, '--module', module, ...files);
}

/** TypeScript 7 takes a tenth of the time. */
function compile7(...args) {
  run(process.execPath, [join(root, 'node_modules/typescript7/bin/tsc'), ...args], project);
}

/** What was fetched before is not asked for again: a registry answers each question in its own time. */
function install(args, cwd) {
  return run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', ...args], cwd);
}

/** What a command printed, on either stream; throws with it where the command failed. */
function run(command, args, cwd, env = process.env) {
  return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function bin(name) {
  return join(root, 'node_modules/.bin', name);
}

function imports(wanted = specifiers) {
  return `${wanted.map((specifier) => `await import('${specifier}')`).join(';')}`;
}
