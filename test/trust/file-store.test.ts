import { execFileSync } from 'node:child_process';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileStore } from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { documentStoreContract } from '../support/document-store-contract';

const bytes = (text: string) => new TextEncoder().encode(text);
const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

let root: string;
let dir: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  dir = join(root, 'home');
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

documentStoreContract('FileStore', async () => ({
  store: new FileStore(dir),
  reopen: () => new FileStore(dir),
}));

describe('FileStore', () => {
  it('leaves nothing beside the documents', async () => {
    const store = new FileStore(dir);
    await store.swap('a.json', null, bytes('one'));
    await store.swap('a.json', null, bytes('two'));
    await Promise.all([1, 2, 3, 4].map((n) => store.swap('a.json', bytes('one'), bytes(`writer ${n}`))));
    expect(await readdir(dir)).toEqual(['a.json']);
  });

  it.each([0, 0o022, 0o777])('makes the folder 0700 and files 0600 under umask %o', async (mask) => {
    const before = process.umask(mask);
    try {
      await new FileStore(dir).swap('a.json', null, bytes('one'));
    } finally {
      process.umask(before);
    }
    expect(await modeOf(dir)).toBe('700');
    expect(await modeOf(join(dir, 'a.json'))).toBe('600');
  });

  it('leaves the mode of a folder that is there alone, and makes every file 0600 again', async () => {
    await mkdir(dir);
    await chmod(dir, 0o750);
    await writeFile(join(dir, 'a.json'), 'one', { mode: 0o644 });
    await new FileStore(dir).swap('a.json', bytes('one'), bytes('two'));
    expect(await modeOf(dir)).toBe('750');
    expect(await modeOf(join(dir, 'a.json'))).toBe('600');
  });

  it('puts a file in place of a symbolic link, and does not write through it', async () => {
    await mkdir(dir);
    await writeFile(join(root, 'elsewhere'), 'one');
    await symlink(join(root, 'elsewhere'), join(dir, 'a.json'));
    const store = new FileStore(dir);
    expect(await store.swap('a.json', bytes('one'), bytes('two'))).toBe(true);
    expect(await readFile(join(root, 'elsewhere'), 'utf8')).toBe('one');
    expect(await readFile(join(dir, 'a.json'), 'utf8')).toBe('two');
  });

  it('has a stamp that notices a file changed in place, with its old time put back', async () => {
    const store = new FileStore(dir);
    await store.swap('a.json', null, bytes('one'));
    const path = join(dir, 'a.json');
    const { atime, mtime } = await stat(path);
    const before = store.stamp('a.json');
    await writeFile(path, 'two');
    await utimes(path, atime, mtime);
    expect(store.stamp('a.json')).not.toBe(before);
  });

  it('says which file cannot be read', async () => {
    await mkdir(join(dir, 'a.json'), { recursive: true });
    await expect(new FileStore(dir).read('a.json')).rejects.toMatchObject({
      code: 'allow_list_unavailable',
      message: expect.stringContaining(`${join(dir, 'a.json')} is not a regular file.`),
    });
  });
});

describe('what is no file', () => {
  it.each(['a pipe', 'a device'])('does not keep it waiting: %s', async (what) => {
    await mkdir(dir);
    const path = join(dir, 'a.json');
    if (what === 'a pipe') execFileSync('mkfifo', [path]);
    else await symlink('/dev/zero', path);
    const refusal = {
      code: 'allow_list_unavailable',
      message: `${path} is not a regular file. Restore the right file.`,
    };
    await expect(new FileStore(dir).read('a.json')).rejects.toMatchObject(refusal);
    await expect(new FileStore(dir).swap('a.json', null, bytes('two'))).rejects.toMatchObject(refusal);
  });
});

describe.skipIf(process.getuid?.() !== 0)('a folder of root', () => {
  it('keeps a file readable for the user whose it is', async () => {
    const store = new FileStore(dir);
    await store.swap('a.json', null, bytes('one'));
    await chown(join(dir, 'a.json'), 65_534, 65_534);
    await store.swap('a.json', bytes('one'), bytes('two'));
    expect((await stat(join(dir, 'a.json'))).uid).toBe(65_534);
  });
});
