import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../support/built';

const ROOT = new URL('../../', import.meta.url).pathname;
const PACKAGES = ['package.json', 'relay/package.json', 'src/cli/package.json'];
const REPOSITORY = { type: 'git', url: 'git+https://git.example.com/authmesh/amesh.git' };

/** A clone of this repository, with what is not committed yet, and with the packages built. */
const clone = mkdtempSync(join(tmpdir(), 'amesh-release-'));
let start = '';

beforeAll(async () => {
  await ensureBuilt();
  git('clone', '--quiet', '--no-hardlinks', ROOT, clone);
  for (const path of ['scripts', '.gitignore', 'CHANGELOG.md', 'package-lock.json', ...PACKAGES])
    cpSync(join(ROOT, path), join(clone, path), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(clone, 'node_modules'));
  const inAnHour = new Date(Date.now() + 3_600_000);
  for (const path of PACKAGES) {
    // Newer than the manifests will be: what is packed here need not be built anew.
    const dist = path.replace('package.json', 'dist');
    cpSync(join(ROOT, dist), join(clone, dist), { recursive: true });
    for (const name of readdirSync(join(clone, dist), { recursive: true, encoding: 'utf8' }))
      utimesSync(join(clone, dist, name), inAnHour, inAnHour);
    edit(path, (manifest) => ({ ...manifest, version: '0.3.0', repository: REPOSITORY }));
  }
  checkPack('console.log(...process.argv.slice(2))');
  writeFileSync(join(clone, 'CHANGELOG.md'), changelog('0.4.0', '0.3.1', '0.3.0', '0.4.0-rc.1'));
  appendFileSync(join(clone, '.git/info/exclude'), 'node_modules\n');
  git('config', 'user.name', 'a maintainer');
  git('config', 'user.email', 'maintainer@example.com');
  commit();
  start = git('rev-parse', 'HEAD');
}, 180_000);
beforeEach(() => {
  git('reset', '--quiet', '--hard', start);
  for (const tag of git('tag').split('\n').filter(Boolean)) git('tag', '--delete', tag);
});
afterAll(() => rmSync(clone, { recursive: true, force: true }));

const changelog = (...versions: string[]) =>
  `# Changelog\n\n${versions.map((version) => `## [${version}] - Unreleased\n\n### Added\n\n- A thing.\n`).join('\n')}`;

function git(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('git', args, { cwd: clone, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return stdout.trim();
}

function commit(): void {
  git('add', '--all');
  git('commit', '--quiet', '--message', 'test: what a release starts from');
}

function edit(path: string, change: (manifest: Record<string, unknown>) => object): void {
  const manifest = JSON.parse(readFileSync(join(clone, path), 'utf8'));
  writeFileSync(join(clone, path), `${JSON.stringify(change(manifest), null, 2)}\n`);
}

/** What installs the packages takes minutes, and is run by CI: here something else stands in its place. */
function checkPack(source: string): void {
  writeFileSync(join(clone, 'scripts/check-pack.mjs'), `${source};\n`);
}

/** So that it packs in a fraction of the time: what `npm pack` takes, and builds before, is what the dry run is about. */
function packLittle(): void {
  for (const path of PACKAGES)
    edit(path, ({ scripts: _, ...manifest }) => ({ ...manifest, files: ['README.md'] }));
  commit();
}

function release(...args: string[]) {
  const options = { cwd: clone, encoding: 'utf8' } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/release.mjs', ...args], options);
  return { status, output: stdout + stderr };
}

describe('a release is refused', () => {
  it.each([
    ['without a version', [], /^✗ Name the version to release: npm run release -- 0\.2\.0/],
    ['as v0.4.0', ['v0.4.0'], /^✗ v0\.4\.0 is no version/],
    ['as 0.4', ['0.4'], /^✗ 0\.4 is no version/],
    ['with an unknown flag', ['0.4.0', '--publish'], /^✗ There is no flag --publish/],
    [
      'as a version that CHANGELOG.md does not have',
      ['0.5.0'],
      /^✗ CHANGELOG\.md has no section "## \[0\.5\.0\]/,
    ],
    ['as a lower version', ['0.2.9'], /^✗ 0\.2\.9 is not greater than 0\.3\.0\./],
    [
      'as a version of candidates before the one that is there',
      ['0.3.0-rc.1'],
      /^✗ 0\.3\.0-rc\.1 is not greater than 0\.3\.0\./,
    ],
  ])('%s', (_what, args, message) => {
    expect(release(...args)).toEqual({ status: 1, output: expect.stringMatching(message) });
    expect(git('status', '--porcelain')).toBe('');
  });

  it.each(PACKAGES)('if %s names no repository', (path) => {
    edit(path, ({ repository: _, ...manifest }) => manifest);
    commit();
    const { status, output } = release('0.4.0', '--dry-run');
    expect(status).toBe(1);
    expect(output).toMatch(`✗ "repository" is not set in ${path}. Set it to the address of this repository`);
  });

  it('in a tree with changes, and names them', () => {
    writeFileSync(join(clone, 'new.txt'), '');
    appendFileSync(join(clone, 'README.md'), '\n');
    expect(release('0.4.0')).toEqual({
      status: 1,
      output: '✗ The tree has changes. Commit them or put them away:\nM README.md\n?? new.txt\n',
    });
    rmSync(join(clone, 'new.txt'));
  });

  it('as a version that was released before, even if package.json still has an older one', () => {
    git('tag', 'v0.4.0');
    expect(release('0.4.0').output).toBe('✗ 0.4.0 is not greater than 0.4.0.\n');
    expect(release('0.3.1').output).toBe('✗ 0.3.1 is not greater than 0.4.0.\n');
    expect(release('0.4.0-rc.1').output).toBe('✗ 0.4.0-rc.1 is not greater than 0.4.0.\n');
  });

  it('with an empty section in CHANGELOG.md', () => {
    writeFileSync(
      join(clone, 'CHANGELOG.md'),
      '# Changelog\n\n## [0.4.0] - Unreleased\n\n## [0.3.0] - 2026-01-01\n\n- A thing.\n',
    );
    commit();
    expect(release('0.4.0').output).toBe('✗ The section of 0.4.0 in CHANGELOG.md is empty.\n');
  });
});

describe('a dry run', () => {
  it('packs all three with the version and with each other, says what it would do, and changes nothing', () => {
    const { status, output } = release('0.4.0', '--dry-run');
    expect(output).toContain(
      '✓ release/authmesh-sdk-0.4.0.tgz\n✓ release/authmesh-relay-0.4.0.tgz\n✓ release/authmesh-cli-0.4.0.tgz\n',
    );
    expect(output).toContain(`--from ${join(clone, 'release')}\n`); // these very tarballs are checked
    expect(output).toContain('would commit "chore: release 0.4.0" and tag v0.4.0');
    expect(output.match(/^ {2}(?:git|npm) .+$/gm)).toEqual([
      '  git push origin HEAD v0.4.0',
      '  npm publish ./release/authmesh-sdk-0.4.0.tgz --access public --provenance',
      '  npm publish ./release/authmesh-relay-0.4.0.tgz --access public --provenance',
      '  npm publish ./release/authmesh-cli-0.4.0.tgz --access public --provenance',
    ]);
    expect(status).toBe(0);
    const tarball = join(clone, 'release/authmesh-cli-0.4.0.tgz');
    const { stdout } = spawnSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' });
    expect(JSON.parse(stdout)).toMatchObject({
      version: '0.4.0',
      dependencies: { '@authmesh/sdk': '0.4.0', '@authmesh/relay': '0.4.0' },
    });
    expect([git('status', '--porcelain'), git('rev-parse', 'HEAD'), git('tag')]).toEqual(['', start, '']);
  });
});

describe('a release', () => {
  it('commits the version, the day and the lockfile, and tags', () => {
    packLittle();
    const { status, output } = release('0.4.0');
    expect([status, git('status', '--porcelain')]).toEqual([0, '']);
    expect(output).toContain(
      'Committed "chore: release 0.4.0", and tagged v0.4.0. Nothing is published yet.',
    );
    expect(git('describe')).toBe('v0.4.0');
    expect(git('log', '-1', '--format=%s')).toBe('chore: release 0.4.0');
    expect(git('show', 'HEAD:CHANGELOG.md')).toMatch(/^## \[0\.4\.0\] - \d{4}-\d\d-\d\d$/m);
    expect(git('show', 'HEAD:CHANGELOG.md')).toContain('## [0.3.1] - Unreleased');
    const lock = JSON.parse(git('show', 'HEAD:package-lock.json'));
    expect(lock).toMatchObject({ version: '0.4.0', packages: { relay: { version: '0.4.0' } } });
    expect(lock.packages['src/cli'].dependencies).toMatchObject({ '@authmesh/sdk': '0.4.0' });
    expect(JSON.parse(git('show', 'HEAD:examples/express/package.json'))).toMatchObject({
      dependencies: { '@authmesh/sdk': '0.4.0' },
    });
  });

  it('whose tarballs do not pass the check changes nothing', () => {
    checkPack('process.exitCode = 1');
    packLittle();
    const before = git('rev-parse', 'HEAD');
    // The version that package.json has may be the first that is released: it comes as far as the check.
    expect(release('0.3.0')).toEqual({ status: 1, output: expect.stringContaining('No release was made') });
    expect([git('status', '--porcelain'), git('rev-parse', 'HEAD'), git('tag')]).toEqual(['', before, '']);
  });
});
