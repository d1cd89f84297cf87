import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const homes: string[] = [];
afterAll(() => Promise.all(homes.map((home) => rm(home, { recursive: true }))));

/** What a section of docs/upkeep.md tells to type first, run in a home with a folder. */
async function follow(section: string, ...before: string[]): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'amesh-home-'));
  homes.push(home);
  await mkdir(join(home, '.amesh'));
  await writeFile(join(home, '.amesh', '.passphrase'), 'secret', { mode: 0o600 });
  const page = await readFile('docs/upkeep.md', 'utf8');
  const [, text = ''] = page.split(`\n## ${section}\n`);
  const [, block = ''] = /```sh target\n(.*?)```/s.exec(text) ?? [];
  const script = ['umask 022', ...before, ...block.split('\n').filter((line) => !line.startsWith('amesh'))];
  execFileSync('sh', ['-c', script.join('\n')], { env: { ...process.env, HOME: home }, stdio: 'pipe' });
  return home;
}

describe('a user who follows docs/upkeep.md', () => {
  it('has a backup that no other user reads, since the key and its passphrase are in it', async () => {
    const home = await follow('Back up');
    expect((await stat(join(home, 'amesh-backup.tgz'))).mode & 0o777).toBe(0o600);
  });

  it('keeps the folder if the backup is damaged', async () => {
    await expect(follow('Restore', 'echo damaged > ~/amesh-backup.tgz')).rejects.toThrow('tar');
    const kept = join(homes.at(-1) as string, '.amesh', '.passphrase');
    expect(await readFile(kept, 'utf8')).toBe('secret');
  });
});
