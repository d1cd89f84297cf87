import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { workTreeOf } from '@authmesh/sdk/admin';
import { shellWord } from '../words/shell';
import { type Finding, warning } from './finding';

const GIT_MS = 2000;

/** Files that must never get into git. They stand for the whole folder. */
const SECRETS = ['.passphrase', 'keys/key.json'];

/** Checks that git does not contain or add the keys, if the folder is in a work tree. */
export async function checkGit(dir: string): Promise<Finding[]> {
  const tree = workTreeOf(dir);
  if (tree === null) return [];
  const tracked = await git(dir, 'ls-files', '-z', '--', '.');
  const names = tracked?.split('\0').filter((name) => name !== '') ?? [];
  if (names.length > 0) {
    return [
      warning(
        `${dir} is in the git work tree ${tree}, which contains ${names.length} of its files, such as ${names.find((name) => name.startsWith('keys/')) ?? names[0]}.`,
        `git -C ${shellWord(dir)} rm -r --cached .   Committed files stay in the history: if they include a key and .passphrase, create a new identity: amesh init --force`,
      ),
    ];
  }
  const ignored = await git(dir, 'check-ignore', '--no-index', ...SECRETS);
  const isIgnored =
    ignored === null ? await ignoresAll(dir) : SECRETS.every((name) => ignored.split('\n').includes(name));
  if (isIgnored) return [];
  return [
    warning(
      `${dir} is in the git work tree ${tree}, and not ignored: git add would add its keys.`,
      `echo '*' > ${shellWord(join(dir, '.gitignore'))}`,
    ),
  ];
}

/** The output of git; empty if its answer is no, null if git cannot run. */
async function git(dir: string, ...args: string[]): Promise<string | null> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_'));
  const env = { ...Object.fromEntries(own), GIT_OPTIONAL_LOCKS: '0' };
  try {
    // A work tree can configure programs that git runs when it looks at files.
    const words = ['-c', 'core.fsmonitor=false', ...args];
    return (await promisify(execFile)('git', words, { cwd: dir, env, timeout: GIT_MS })).stdout;
  } catch (error) {
    return (error as { code?: unknown }).code === 1 ? '' : null;
  }
}

/** Whether .gitignore is the one that amesh writes. */
async function ignoresAll(dir: string): Promise<boolean> {
  const text = await readFile(join(dir, '.gitignore'), 'utf8').catch(() => '');
  return text.split('\n').some((line) => line.trim() === '*');
}
