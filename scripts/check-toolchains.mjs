// Installs the packed packages with each loader, compiler, package manager and bundler that people have, and sends a
// signed request through the server of docs/loaders.md there. What a tool needs beside them is what that page says.
// Arguments: names of tools, to run those alone; --keep leaves the folder where it is. AMESH_NODES is a folder in which the
// newer Nodes are installed already.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Trial } from './trial.mjs';

const OUTPUT = '200 {"caller":"laptop","got":{"item":"tea"}}';
const NEWER_NODES = ['22.23.3', '24.21.0'];
const AT_ONCE = 3;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const page = readFileSync(join(root, 'docs/loaders.md'), 'utf8');
const nestBlocks = [
  ...readFileSync(join(root, 'docs/frameworks.md'), 'utf8').matchAll(/^```typescript .*\n([\s\S]*?)^```$/gm),
].map(([, code]) => code);
const { devDependencies, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const trial = new Trial('toolchains', {
  // Yarn reads none of npm's configuration.
  YARN_NPM_REGISTRY_SERVER: execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim(),
  YARN_UNSAFE_HTTP_WHITELIST: '*',
  YARN_ENABLE_TELEMETRY: '0',
  YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
});

const server = block('The server', 'ts');
const modules = server
  .replace("import type { AddressInfo } from 'node:net';\n", '')
  .replace(' as AddressInfo', '');
const commonjs = modules.replace(/^import (.+) from ('.+');$/gm, 'const $1 = require($2);');
const jestTest = `test('the server', (done) => {
  const log = jest.spyOn(console, 'log').mockImplementation((...args) => {
    process.stdout.write(args.join(' ') + '\\n');
    setImmediate(() => { log.mockRestore(); done(); });
  });
  require('./server.ts');
}, 60_000);
`;
/**
 * The guard lets a signed request in, refuses another one, asks for a scope, and leaves a public route to everybody. A route
 * whose scope is misspelt, empty or missing is open to nobody, and one that needs a scope is not public as its controller is.
 */
const nestMisspelt = `const SCOPES: Record<string, string> = {};
@Controller('api/misspelt')
class Misspelt {
  @Post('0') @Requires(SCOPES.orders) misspelt() { return 'open'; }
  @Post('1') @Requires('') empty() { return 'open'; }
  @Post('2') @Requires() missing() { return 'open'; }
}
async function callMisspelt(caller: Amesh, url: string, init: RequestInit, expected: number[]) {
  const numbers = [0, 1, 2].map((number) => caller.fetch(new URL('/api/misspelt/' + number, url).href, { ...init, answers: 'off' }));
  const statuses = (await Promise.all(numbers)).map(({ status }) => status);
  if (statuses.join() !== expected.join()) throw new Error('misspelt scopes: ' + statuses);
}
`;
const nestMain = `import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { type Amesh, createAmesh } from '@authmesh/sdk';
import { Controller, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Public, Requires } from './amesh';
import { App } from './app';

${nestMisspelt}
@Public()
@Controller('api/half')
class HalfPublic {
  @Post('0') open() { return 'open'; }
  @Post('1') @Requires('orders:all') guarded() { return 'open'; }
  @Post('2') @Public() @Requires('orders:all') both() { return 'open'; }
}
@Module({ imports: [App], controllers: [Misspelt, HalfPublic] })
class WithMore {}

async function main() {
  const app = await NestFactory.create(WithMore, { rawBody: true, logger: false });
  await app.listen(0, '127.0.0.1');
  const url = 'http://127.0.0.1:' + (app.getHttpServer().address() as AddressInfo).port + '/api/orders';
  const caller = createAmesh({ dir: process.env.CALLER_DIR });
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"item":"tea"}' };
  const unsigned = await fetch(url, init);
  const health = await fetch(new URL('/api/health', url));
  const all = await caller.fetch(url + '/all', init);
  const texts = [health.status, unsigned.status, await unsigned.text(), all.status, await all.text()].join(' ');
  if (texts !== '200 401 {"error":"unauthorized"} 403 {"error":"scope_missing","scope":"orders:all"}') throw new Error(texts);
  const response = await caller.fetch(url, init);
  console.log(response.status, await response.text());
  await callMisspelt(caller, url, init, [500, 500, 500]);
  const half = await Promise.all([0, 1, 2].map((number) => fetch(new URL('/api/half/' + number, url), init)));
  const statuses = half.map(({ status }) => status).join();
  if (statuses !== '201,401,401') throw new Error('a public controller: ' + statuses);
  await app.close();
}
main();
`;
/** The same with the Fastify platform, where a plugin verifies, and a guard asks for the scope. */
const nestOnFastify = `import 'reflect-metadata';
import { type Amesh, type AuthMeshIdentity, createAmesh } from '@authmesh/sdk';
import { Body, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { Caller, Requires } from './amesh';
import { createApp, ScopesGuard } from './fastify';

@Controller('api/orders')
class Orders {
  @Post() @HttpCode(200)
  create(@Caller() caller: AuthMeshIdentity, @Body() got: unknown) { return { caller: caller.friendlyName, got }; }
  @Post('all') @Requires('orders:all')
  removeAll() { return 'open'; }
}
${nestMisspelt}
@Module({ controllers: [Orders, Misspelt], providers: [{ provide: APP_GUARD, useClass: ScopesGuard }] })
class App {}

async function main() {
  const app = await createApp(App);
  app.useLogger(false);
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl() + '/api/orders';
  const caller = createAmesh({ dir: process.env.CALLER_DIR });
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"item":"tea"}' };
  const texts = [await fetch(url, init), await caller.fetch(url + '/all', init)].map(({ status }) => status).join();
  if (texts !== '401,403') throw new Error(texts);
  const response = await caller.fetch(url, init);
  console.log(response.status, await response.text());
  await callMisspelt(caller, url, init, [500, 403, 403]);
  await app.close();
}
main();
`;
const webpack = `require('webpack')({ mode: 'production', target: 'node20', entry: './server.mjs', output: { path: __dirname, filename: 'bundle.cjs' } },
  (error, stats) => { if (error || stats.hasErrors()) throw error ?? new Error(stats.toString()); });
`;

const pinned = (...names) => names.map((name) => `${name}@${devDependencies[name]}`);
const types = pinned('typescript', '@types/node', '@types/express');
const compile = (module, resolution, ...options) =>
  `tsc --strict --target es2023 --skipLibCheck --esModuleInterop --types node --module ${module} --moduleResolution ${resolution} ${options.join(' ')} server.ts`;
const yarn = 'node ../node_modules/@yarnpkg/cli-dist/bin/yarn.js';

/** What each needs beside the packages and Express, its files, and its commands: each `run` prints OUTPUT. */
const tools = [
  {
    name: 'tsx',
    packages: ['tsx@4.23.15'],
    files: { 'server.ts': server },
    run: ['tsx server.ts'],
    isEverywhere: true,
  },
  {
    name: 'require() and import',
    files: { 'server.cjs': commonjs, 'server.mjs': modules },
    run: ['node server.cjs', 'node server.mjs'],
    isEverywhere: true,
  },
  {
    name: 'TypeScript and ts-node',
    packages: [...types, 'ts-node@10.9.2'],
    files: {
      'server.ts': server,
      'tsconfig.json':
        '{"compilerOptions":{"module":"nodenext","target":"es2023","strict":true,"skipLibCheck":true}}',
      'esm/package.json': '{"type":"module"}',
      'esm/server.ts': server,
    },
    prepare: [
      compile('commonjs', 'node10', '--outDir node10'),
      compile('nodenext', 'nodenext', '--outDir nodenext'),
      compile('preserve', 'bundler', '--noEmit'),
      `cd esm && ${compile('node16', 'node16', '--outDir node16')}`,
    ],
    run: [
      'node node10/server.js',
      'node nodenext/server.js',
      'node esm/node16/server.js',
      'ts-node server.ts',
    ],
  },
  {
    name: 'NestJS',
    packages: [
      ...types,
      'reflect-metadata@0.2.2',
      'rxjs@7.8.2',
      ...['common', 'core', 'platform-express'].map((part) => `@nestjs/${part}@11.2.10`),
    ],
    files: { 'main.ts': block('NestJS', 'typescript'), 'tsconfig.json': block('NestJS', 'json') },
    prepare: ['tsc -p tsconfig.json'],
    run: ['node out/main.js'],
    isEverywhere: true,
  },
  {
    name: 'the guard of NestJS',
    packages: [
      ...types,
      'reflect-metadata@0.2.2',
      'rxjs@7.8.2',
      ...['common', 'core', 'platform-express'].map((part) => `@nestjs/${part}@11.2.10`),
      '@nestjs/platform-fastify@11.2.8',
    ],
    files: {
      'amesh.ts': nestBlocks[0],
      'app.ts': nestBlocks[1],
      'fastify.ts': nestBlocks[2],
      'main.ts': nestMain,
      'on-fastify.ts': nestOnFastify,
      'tsconfig.json': block('NestJS', 'json').replace('"main.ts"', '"*.ts"'),
    },
    prepare: ['tsc -p tsconfig.json'],
    run: ['node out/main.js', 'node out/on-fastify.js'],
    isEverywhere: true,
  },
  {
    name: 'Jest',
    packages: ['jest@30.5.2', '@swc/jest@0.2.39', '@swc/core@1.16.22'],
    files: { 'server.ts': server, 'jest.config.cjs': block('Jest', 'js'), 'server.test.cjs': jestTest },
    run: ['jest --silent=false 2>/dev/null'],
  },
  {
    name: 'ts-jest',
    packages: [...types, 'jest@30.5.2', 'ts-jest@29.4.15', '@swc/jest@0.2.39', '@swc/core@1.16.22'],
    files: {
      'server.ts': server,
      'jest.config.cjs': block('Jest', 'js', 1),
      'server.test.cjs': jestTest,
      'tsconfig.json': block('NestJS', 'json').replace('"main.ts"', '"*.ts"'),
    },
    run: ['jest --silent=false 2>/dev/null'],
  },
  {
    name: 'esbuild, webpack and Rollup',
    packages: [
      ...pinned('esbuild'),
      'rollup@4.64.10',
      'webpack@5.113.0',
      '@rollup/plugin-commonjs@28.0.9',
      '@rollup/plugin-json@6.1.0',
      '@rollup/plugin-node-resolve@16.0.3',
    ],
    files: {
      'server.ts': server,
      'server.mjs': modules,
      'webpack.cjs': webpack,
      'rollup.config.mjs': block('Bundlers', 'js'),
    },
    prepare: [
      `${block('Bundlers', 'sh').trim().replace('npx ', '')} --log-level=error`,
      'esbuild server.ts --bundle --platform=node --format=esm --packages=external --outfile=out/server.mjs --log-level=error',
      'node webpack.cjs',
      'rollup --config --silent',
    ],
    run: ['node out/server.cjs', 'node out/server.mjs', 'node bundle.cjs', 'node out/rollup.mjs'],
  },
  {
    name: 'pnpm',
    packages: ['pnpm@10.34.9'],
    files: { 'linked/package.json': '{"private":true}', 'linked/server.cjs': commonjs },
    prepare: [
      `cd linked && pnpm add ${trial.root}/packs/authmesh-sdk-*.tgz express@${devDependencies.express}`,
    ],
    run: ['node linked/server.cjs'],
  },
  {
    name: "Yarn Plug'n'Play",
    packages: ['@yarnpkg/cli-dist@4.18.1'],
    files: { 'pnp/package.json': pnpManifest(), 'pnp/yarn.lock': '', 'pnp/server.mjs': modules },
    prepare: [`cd pnp && ${yarn} install`, `cd pnp && AUTH_MESH_DIR=$PWD/own ${yarn} amesh init --name yarn`],
    run: [
      `cd pnp && ${yarn} node server.mjs`,
      // The same with a list that was written under its file system, and what else writes there.
      `cd pnp && export AUTH_MESH_DIR=$PWD/own && LINE=$(AUTH_MESH_DIR=$CALLER_DIR ${yarn} amesh trust export --quiet) && \
        ${yarn} amesh trust add --role controller --quiet "$LINE" >&2 && ${yarn} node server.mjs && ${yarn} amesh revoke laptop --yes >&2`,
    ],
  },
];

const wanted = process.argv.slice(2).filter((name) => name !== '--keep');
const chosen = tools.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
let failed = 0;
try {
  await trial.pair();
  const todo = [...chosen];
  await Promise.all(Array.from({ length: AT_ONCE }, () => drain(todo)));
} finally {
  trial.end();
}
console.log(`${chosen.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

async function drain(todo) {
  for (let tool = todo.shift(); tool !== undefined; tool = todo.shift()) {
    const startedAt = performance.now();
    const problem = await check(tool).catch((error) => `${error.message}\n${error.stdout ?? ''}`);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
    console.log(
      `${problem === undefined ? '✓' : '✗'} ${tool.name} (${seconds} s)${problem ? `\n${problem}` : ''}`,
    );
    if (problem !== undefined) failed++;
  }
}

/** In the folder that `npm init -y` makes. @returns what went wrong */
async function check({ name, packages = [], files, prepare = [], run, isEverywhere = false }) {
  const dir = await trial.project(name, [`express@${devDependencies.express}`, ...packages], files);
  for (const command of prepare) await trial.sh(command, dir);
  const nodes = [undefined, ...(isEverywhere ? NEWER_NODES : [])];
  for (const node of nodes) {
    for (const command of run) {
      const printed = (await trial.sh(command, dir, await trial.nodeBin(node))).trim();
      if (!printed.split('\n').includes(OUTPUT))
        return `${command} (Node ${node ?? process.version}) printed:\n${printed}`;
    }
  }
}

function pnpManifest() {
  const file = (name) => `file:../../packs/authmesh-${name}-${version}.tgz`;
  const own = Object.fromEntries(['sdk', 'cli', 'relay'].map((name) => [`@authmesh/${name}`, file(name)]));
  return JSON.stringify({
    private: true,
    dependencies: { ...own, express: devDependencies.express },
    resolutions: own,
  });
}

/** A block of a language below a heading of the page. @param place 0 is the first */
function block(heading, language, place = 0) {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  return [...section.matchAll(new RegExp(`^\`\`\`${language} .*\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))][place][1];
}
