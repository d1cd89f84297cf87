// Makes a release out of a clean tree: `npm run release -- 0.2.0`. It sets the version, packs, checks what it has packed,
// commits and tags; it publishes nothing, and prints the commands that do. With --dry-run the tree is afterwards as it was.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(root, 'release');

/** In the order in which they are published: each after those that it depends on. */
const PACKAGES = ['package.json', 'relay/package.json', 'src/cli/package.json'];
const DEPENDENCIES = ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies'];
const VERSION = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$/;

/** What the user can put right. */
class Refusal extends Error {}

try {
  release(readArguments(process.argv.slice(2)));
} catch (error) {
  console.error(`✗ ${error.message}`);
  if (!(error instanceof Refusal)) console.error('No release was made, and the tree is as it was.');
  process.exitCode = 1;
}

function release({ version, isDryRun }) {
  assertRepository();
  assertClean();
  assertGreater(version);
  const changelog = datedChangelog(version);

  const before = new Map();
  let isDone = false;
  try {
    const write = (path, text) => {
      before.set(path, read(path));
      writeFileSync(join(root, path), text);
    };
    write('CHANGELOG.md', changelog);
    for (const path of manifests()) write(path, toJson(withVersion(readJson(path), version)));
    write('package-lock.json', toJson(withLockedVersion(readJson('package-lock.json'), version)));

    const tarballs = pack(version);
    run(process.execPath, ['scripts/check-pack.mjs', '--from', out], 'inherit');
    const commit = `chore: release ${version}`;
    if (isDryRun) {
      console.log(`✓ Dry run: all is as it was. A release would commit "${commit}" and tag v${version}.`);
    } else {
      git('commit', '--quiet', '--all', '--message', commit);
      git('tag', '--annotate', `v${version}`, '--message', `amesh ${version}`);
      console.log(`✓ Committed "${commit}", and tagged v${version}. Nothing is published yet.`);
      isDone = true;
    }
    console.log(nextSteps(version, tarballs));
  } finally {
    if (!isDone) for (const [path, text] of before) writeFileSync(join(root, path), text);
  }
}

function readArguments(argv) {
  const flags = argv.filter((argument) => argument.startsWith('--'));
  const [version, ...more] = argv.filter((argument) => !argument.startsWith('--'));
  const unknown = flags.find((flag) => flag !== '--dry-run');
  if (unknown !== undefined) throw new Refusal(`There is no flag ${unknown}: --dry-run is the only one.`);
  if (version === undefined || more.length > 0)
    throw new Refusal('Name the version to release: npm run release -- 0.2.0 [--dry-run]');
  if (!VERSION.test(version)) throw new Refusal(`${version} is no version: write it as 0.2.0 or 0.2.0-rc.1.`);
  return { version, isDryRun: flags.includes('--dry-run') };
}

/** npm shows it, and refuses to attest where a package comes from without it. */
function assertRepository() {
  const bare = PACKAGES.filter((path) => {
    const { repository } = readJson(path);
    return !(typeof repository === 'string' ? repository : repository?.url);
  });
  if (bare.length === 0) return;
  throw new Refusal(
    `"repository" is not set in ${bare.join(', ')}. Set it to the address of this repository: without it npm can attest to nobody where the packages come from.`,
  );
}

function assertClean() {
  const changes = git('status', '--porcelain');
  if (changes !== '') throw new Refusal(`The tree has changes. Commit them or put them away:\n${changes}`);
}

/** Greater than all that was released, and than what package.json says, unless that is the first that is to come. */
function assertGreater(version) {
  const { version: current } = readJson('package.json');
  const released = git('tag', '--list', 'v*')
    .split('\n')
    .map((tag) => tag.slice(1))
    .filter((name) => VERSION.test(name));
  const isFirst = version === current && !released.includes(current);
  const highest = [...released, ...(isFirst ? [] : [current])].sort(compare).at(-1);
  if (highest === undefined || compare(version, highest) > 0) return;
  throw new Refusal(`${version} is not greater than ${highest}.`);
}

/** By the precedence of Semantic Versioning. */
function compare(a, b) {
  const [[coreA, preA], [coreB, preB]] = [a, b].map((version) => {
    const at = version.indexOf('-');
    return at === -1 ? [version, undefined] : [version.slice(0, at), version.slice(at + 1)];
  });
  const core = compareParts(coreA.split('.'), coreB.split('.'));
  if (core !== 0 || preA === preB) return core;
  if (preA === undefined) return 1;
  if (preB === undefined) return -1;
  return compareParts(preA.split('.'), preB.split('.'));
}

function compareParts(a, b) {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [x, y] = [a[i], b[i]];
    if (x === y) continue;
    if (x === undefined) return -1;
    if (y === undefined) return 1;
    const [isX, isY] = [x, y].map((part) => /^\d+$/.test(part));
    if (isX && isY) return Number(x) - Number(y);
    if (isX !== isY) return isX ? -1 : 1; // a number comes before a word
    return x < y ? -1 : 1;
  }
  return 0;
}

/** The changelog with the day of the release in place of "Unreleased". */
function datedChangelog(version) {
  const text = read('CHANGELOG.md');
  const heading = new RegExp(
    `^## \\[${version.replace(/[.]/g, '\\.')}\\](?: - (Unreleased|\\d{4}-\\d\\d-\\d\\d))?$`,
    'm',
  );
  const found = heading.exec(text);
  if (found === null)
    throw new Refusal(
      `CHANGELOG.md has no section "## [${version}] - Unreleased". Say there what has changed.`,
    );
  const [section] = text.slice(found.index + found[0].length).split(/^## /m);
  if (!/^- \S/m.test(section)) throw new Refusal(`The section of ${version} in CHANGELOG.md is empty.`);
  const today = new Date().toISOString().slice(0, 10);
  return text.replace(heading, `## [${version}] - ${today}`);
}

/** All that depend on our packages: these themselves, and the examples. */
function manifests() {
  const others = git('ls-files', '*/package.json').split('\n');
  return [...new Set([...PACKAGES, ...others])].filter((path) => {
    const manifest = readJson(path);
    return PACKAGES.includes(path) || ownDependencies(manifest).length > 0;
  });
}

function ownDependencies(manifest) {
  return DEPENDENCIES.flatMap((field) =>
    Object.keys(manifest[field] ?? {})
      .filter((name) => name.startsWith('@authmesh/'))
      .map((name) => ({ field, name })),
  );
}

function withVersion(manifest, version) {
  for (const { field, name } of ownDependencies(manifest)) manifest[field][name] = version;
  // An example is a project of its own.
  if (manifest.name?.startsWith('@authmesh/')) manifest.version = version;
  return manifest;
}

function withLockedVersion(lock, version) {
  lock.version = version;
  for (const path of PACKAGES) withVersion(lock.packages[path.replace(/\/?package\.json$/, '')], version);
  return lock;
}

/** Packs all three, which builds them first, and looks into what was packed. */
function pack(version) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out);
  run('npm', ['pack', '--workspaces', '--include-workspace-root', '--pack-destination', out]);
  return PACKAGES.map((path) => {
    const { name } = readJson(path);
    const tarball = join('release', `${name.slice(1).replace('/', '-')}-${version}.tgz`);
    if (!existsSync(join(root, tarball))) throw new Error(`npm pack made no ${tarball}.`);
    const packed = JSON.parse(run('tar', ['-xzOf', tarball, 'package/package.json']));
    const wrong = ownDependencies(packed).filter(({ field, name }) => packed[field][name] !== version);
    if (packed.version !== version || wrong.length > 0)
      throw new Error(`${tarball} is not of version ${version}, or needs another one of ours.`);
    console.log(`✓ ${tarball}`);
    return tarball;
  });
}

function nextSteps(version, tarballs) {
  const tag = version.includes('-') ? ' --tag next' : '';
  return [
    'To publish, in this order:',
    `  git push origin HEAD v${version}`,
    ...tarballs.map((tarball) => `  npm publish ./${tarball} --access public --provenance${tag}`),
    'npm takes --provenance in a CI job only, which needs the permission id-token: write.',
  ].join('\n');
}

function read(path) {
  return readFileSync(join(root, path), 'utf8');
}

function readJson(path) {
  return JSON.parse(read(path));
}

function toJson(value) {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function git(...args) {
  return run('git', args).trim();
}

function run(command, args, stdout = 'pipe') {
  const options = { cwd: root, encoding: 'utf8', stdio: ['ignore', stdout, 'inherit'] };
  return execFileSync(command, args, options);
}
