import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createIdentity } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { Machine, useMachines } from './amesh';
import { examineWith } from './examine';

const createMachine = useMachines();

const git = (cwd: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@a.example', ...args], {
    cwd,
    encoding: 'utf8',
  });

/** A machine whose folder is to lie in a work tree, which has one file. */
async function inWorkTree(): Promise<{ machine: Machine; tree: string }> {
  const tree = dirname((await createMachine()).dir);
  git(tree, 'init', '--quiet');
  await writeFile(join(tree, 'app.js'), '');
  return { machine: new Machine(join(tree, 'some', 'amesh')), tree };
}

const added = (tree: string) => {
  git(tree, 'add', '--all');
  return git(tree, 'ls-files').split('\n').slice(0, -1);
};

const folderOf = async (machine: Machine) => {
  const { all } = await examineWith(machine, { AMESH_RELAY_URL: 'ws://127.0.0.1:1' });
  return all.filter(({ check }) => check === 'folder');
};

describe('a folder inside a git work tree', () => {
  it('is left out of git add -A, and remains so with --force', async () => {
    const { machine, tree } = await inWorkTree();
    expect((await machine.amesh(['init', '--name', 'a'])).code).toBe(0);
    expect(added(tree)).toEqual(['app.js']);
    expect(await readFile(join(machine.dir, '.gitignore'), 'utf8')).toBe('*\n');
    await machine.amesh(['init', '--name', 'b', '--force']);
    expect(added(tree)).toEqual(['app.js']);
    expect(await folderOf(machine)).toMatchObject([{ state: 'ok' }]);
  });

  it('is left out if a link or a linked work tree leads into it', async () => {
    const { tree } = await inWorkTree();
    const outside = dirname((await createMachine()).dir);
    await mkdir(join(tree, 'inside'));
    await symlink(join(tree, 'inside'), join(outside, 'link'));
    await createIdentity(join(outside, 'link', 'amesh'), {}, { friendlyName: 'a' });
    expect(added(tree)).toEqual(['app.js']);

    git(tree, 'commit', '--quiet', '-m', 'a');
    git(tree, 'worktree', 'add', '--quiet', join(outside, 'linked'));
    await createIdentity(join(outside, 'linked', 'amesh'), {}, { friendlyName: 'a' });
    expect(added(join(outside, 'linked'))).toEqual(['app.js']);
  });

  it('keeps an existing .gitignore, and doctor warns if it does not exclude the keys', async () => {
    const { machine } = await inWorkTree();
    await mkdir(machine.dir, { recursive: true, mode: 0o700 });
    await writeFile(join(machine.dir, '.gitignore'), '.passphrase\n');
    await machine.init('a');
    expect(await readFile(join(machine.dir, '.gitignore'), 'utf8')).toBe('.passphrase\n');
    const [finding] = await folderOf(machine);
    expect(finding).toMatchObject({
      state: 'warning',
      message: expect.stringMatching(/and not ignored: git add would add its keys\.$/),
      fix: `echo '*' > ${join(machine.dir, '.gitignore')}`,
    });
    execFileSync('sh', ['-c', String(finding?.fix)]);
    expect(await folderOf(machine)).toMatchObject([{ state: 'ok' }]);
  });

  it('gets a warning if git has some of its files, ignored or not', async () => {
    const { machine, tree } = await inWorkTree();
    await machine.init('a');
    git(tree, 'add', '--force', machine.dir);
    const [finding] = await folderOf(machine);
    expect(finding?.message).toMatch(/which contains \d of its files, such as keys\/[\w-]+\.pem\.$/);
    const [command = ''] = String(finding?.fix).split('   ');
    execFileSync('sh', ['-c', `${command} --quiet`]);
    expect(await folderOf(machine)).toMatchObject([{ state: 'ok' }]);
  });

  it('is checked by its own .gitignore without git, and with git by the .gitignore of the tree', async () => {
    const { machine, tree } = await inWorkTree();
    await machine.init('a');
    const withoutGit = { PATH: '/nowhere', AMESH_RELAY_URL: 'ws://127.0.0.1:1' };
    const stateOf = async () =>
      (await examineWith(machine, withoutGit)).all.filter(({ check }) => check === 'folder')[0]?.state;
    expect(await stateOf()).toBe('ok');
    await rm(join(machine.dir, '.gitignore'));
    expect(await stateOf()).toBe('warning');
    await writeFile(join(tree, '.gitignore'), 'some/\n');
    expect(await folderOf(machine)).toMatchObject([{ state: 'ok' }]);
  });
});

it('a folder elsewhere gets no .gitignore', async () => {
  const machine = await createMachine('a');
  await expect(readFile(join(machine.dir, '.gitignore'))).rejects.toThrow('ENOENT');
});
