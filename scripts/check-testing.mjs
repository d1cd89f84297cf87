// Does what each section of docs/testing.md says, with the packed packages: the files of its blocks, and its command. Then
// checks that these tests can fail, by the same with an app that verifies nothing.
// Arguments: headings of sections, to run those alone; --keep leaves the folder where it is.
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { packInto } from './pack.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const pinned = (...names) => names.map((name) => `${name}@${devDependencies[name]}`);
const packages = [
  ...pinned('vitest', 'express', 'fastify', 'hono', 'typescript', '@types/node', '@types/express'),
  ...['supertest@7.3.2', 'msw@2.9.0', 'tsx@4.23.15', 'jest@30.5.2', '@swc/jest@0.2.39', '@swc/core@1.16.22'],
  ...['common', 'core', 'platform-express'].map((part) => `@nestjs/${part}@11.2.10`),
  '@nestjs/testing@11.2.6',
  ...['reflect-metadata@0.2.2', 'rxjs@7.8.2'],
];
// As docs/loaders.md says, and with what Nest's decorators need.
const jestConfig = `module.exports = {
  transform: { '\\\\.[cm]?[jt]s$': ['@swc/jest', {
    jsc: { parser: { syntax: 'typescript', decorators: true }, transform: { legacyDecorator: true, decoratorMetadata: true }, target: 'es2022' },
    module: { type: 'commonjs' },
  }] },
  transformIgnorePatterns: ['/node_modules/(?!(@authmesh|@noble|jose)/)'],
};
`;
/** Sections whose tests run as CommonJS. */
const isCommonJs = (section) => section.command.includes('jest');

const sections = readFileSync(join(root, 'docs/testing.md'), 'utf8').split(/^## /m).slice(1).map(readSection);
const guard = [
  ...readFileSync(join(root, 'docs/frameworks.md'), 'utf8').matchAll(
    /^```typescript .*\n(\/\/ (amesh|app)\.ts\n[\s\S]*?)^```$/gm,
  ),
];
Object.assign(
  sections.find(({ title }) => title === 'NestJS').files,
  Object.fromEntries(guard.map(([, code, name]) => [`${name}.ts`, code])),
);
const shared = sections.find(({ title }) => title === 'Give your app its amesh').files;
const wanted = process.argv.slice(2).filter((name) => name !== '--keep');
const chosen = sections.filter(
  ({ title, command }) => command !== undefined && (wanted.length === 0 || wanted.includes(title)),
);

const work = mkdtempSync(join(tmpdir(), 'amesh-testing-'));
let failed = 0;
try {
  const tarballs = packInto(work).map((path) => `./${basename(path)}`);
  writeFileSync(join(work, 'package.json'), '{"private":true}');
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs, ...packages], {
    cwd: work,
    stdio: 'inherit',
  });
  for (const section of chosen) {
    const problem = await check(section);
    console.log(problem === undefined ? `✓ ${section.title}` : `✗ ${section.title}\n${problem}`);
    if (problem !== undefined) failed++;
  }
} finally {
  if (process.argv.includes('--keep')) console.log(`Left in ${work}`);
  else rmSync(work, { recursive: true, force: true, maxRetries: 20 });
}
console.log(`${chosen.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** @returns what went wrong */
async function check(section) {
  const { code, output } = await run(section, (text) => text);
  if (code !== 0) return output;
  const open = await run(section, withoutVerify);
  return open.code === 0 ? 'Its tests pass with an app that verifies nothing, too.' : undefined;
}

/** Runs a section in a folder of its own. @param change changes the files that are no tests */
async function run({ title, files, command }, change) {
  const dir = mkdtempSync(join(work, `${title.replace(/\W+/g, '-')}-`));
  const ends = isCommonJs({ command }) ? {} : { type: 'module' };
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ private: true, ...ends }));
  if (isCommonJs({ command })) writeFileSync(join(dir, 'jest.config.cjs'), jestConfig);
  for (const [name, text] of Object.entries({ ...shared, ...files })) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), change(text));
  }
  const env = { ...process.env, PATH: `${join(work, 'node_modules/.bin')}:${process.env.PATH}`, CI: 'true' };
  return promisify(execFile)('sh', ['-c', command], { cwd: dir, env, timeout: 300_000 }).then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    (error) => ({ code: error.code ?? 1, output: `${error.message}\n${error.stdout}\n${error.stderr}` }),
  );
}

/** An app of which somebody removed what protects it. */
function withoutVerify(text) {
  const open =
    '((req, _res, next) => { req.authMesh = { friendlyName: "anybody", scopes: ["*"] }; next(); })';
  return text
    .replace(/(?:\bthis\.)?\bamesh\.verify\([^)]*\)/g, open)
    .replace(/await app\.register\(authMesh, [^;]*;/g, 'app.decorateRequest("authMesh", null);')
    .replace(/app\.use\(verify\([^;]*;/g, '')
    .replace(/withAmesh\(/g, '((handler: any, _options: any) => handler)(');
}

function readSection(text) {
  const files = {};
  let command;
  for (const [, language, body] of text.matchAll(
    /^```(\w+) no-run: run by scripts\/check-testing\.mjs\n([\s\S]*?)^```$/gm,
  )) {
    if (language === 'sh') command = body.trim();
    else files[/^\/\/ (\S+)\n/.exec(body)[1]] = body;
  }
  return { title: text.slice(0, text.indexOf('\n')), files, command };
}
