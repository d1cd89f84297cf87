import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
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
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FileLock } from '../../src/storage/files/file-lock';
import { PageFiles } from '../../src/storage/files/page-files';
import { documentStoreContract } from '../support/document-store-contract';
import { SOON } from '../support/waiting';

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
  it('leaves nothing next to the documents', async () => {
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

  it('does not change the mode of an existing folder, and makes every file 0600 again', async () => {
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

describe('pages of a document', () => {
  const KEY = 'allow_list.json';
  const nameOf = (page: string) => createHash('sha256').update(page).digest('base64url');
  const pages = (...texts: string[]) => new Map(texts.map((text) => [nameOf(text), bytes(text)]));
  const named = (...texts: string[]) => bytes(`head ${texts.map((text) => `"${nameOf(text)}"`).join(' ')}`);
  const filesOf = async () => (await readdir(join(dir, 'list'))).sort();
  const read = (store: FileStore, text: string) => store.readPages(KEY, [nameOf(text)], 100);

  it('are files in the folder list, which only their owner can read', async () => {
    await new FileStore(dir).swap(KEY, null, named('one'), { write: pages('one'), remove: [] });
    expect(await readdir(dir)).toEqual([KEY, 'list']);
    expect(await filesOf()).toEqual([nameOf('one')]);
    expect(await modeOf(join(dir, 'list'))).toBe('700');
    expect(await modeOf(join(dir, 'list', nameOf('one')))).toBe('600');
  });

  it('are written again if another writer sweeps them away before the document names them', async () => {
    const [slow, other] = [new FileStore(dir), new FileStore(dir)];
    const first = named('one');
    await slow.swap(KEY, null, first, { write: pages('one', 'old'), remove: [] });
    const lock = await FileLock.take(join(dir, KEY), new Uint8Array()); // the slow writer waits for it
    const swapping = slow.swap(KEY, first, named('one', 'two'), { write: pages('two'), remove: [] });
    await vi.waitFor(async () => expect(await filesOf()).toContain(nameOf('two')), SOON);
    // A sweep by another writer, which knows nothing about it.
    new PageFiles(join(dir, 'list'), join(dir, KEY)).keepNow(first);
    expect(await filesOf()).toEqual([nameOf('one')]);
    lock.release();
    expect(await swapping).toBe(true);
    expect(await filesOf()).toEqual([nameOf('one'), nameOf('two')].sort());
    expect(await read(other, 'two')).toEqual([Buffer.from('two')]);
  });

  it('that killed or slower writers left behind are removed with the next dropped page', async () => {
    const store = new FileStore(dir);
    await store.swap(KEY, null, named('one'), { write: pages('one'), remove: [] });
    await writeFile(join(dir, 'list', nameOf('left')), 'left');
    await writeFile(join(dir, 'list', 'notes.txt'), 'of somebody else');
    await store.swap(KEY, named('one'), named('two'), { write: pages('two'), remove: [nameOf('one')] });
    expect(await filesOf()).toEqual(['notes.txt', nameOf('two')].sort());
  });

  it('are removed next to a folder with the name of a page, which stays', async () => {
    const store = new FileStore(dir);
    const folders = ['-'.repeat(43), '0'.repeat(43), 'z'.repeat(43)]; // in whatever order a folder is read
    await store.swap(KEY, null, named('one'), { write: pages('one'), remove: [] });
    for (const name of folders) await mkdir(join(dir, 'list', name));
    await store.swap(KEY, named('one'), named('two'), { write: pages('two'), remove: [nameOf('one')] });
    expect(await filesOf()).toEqual([...folders, nameOf('two')].sort());
  });

  it('of a writer that was too slow are removed immediately', async () => {
    const store = new FileStore(dir);
    await store.swap(KEY, null, named('one'), { write: pages('one'), remove: [] });
    const lock = await FileLock.take(join(dir, KEY), new Uint8Array());
    const swapping = store.swap(KEY, named('one'), named('two'), { write: pages('two'), remove: [] });
    await vi.waitFor(async () => expect(await filesOf()).toContain(nameOf('two')), SOON);
    await writeFile(join(dir, KEY), named('one', 'three'));
    lock.release();
    expect(await swapping).toBe(false);
    expect(await filesOf()).toEqual([nameOf('one')]);
  });

  it.each(['a folder', 'a pipe', 'a symbolic link to a device'])(
    'count as missing, without a wait, if %s is in their place',
    async (what) => {
      const store = new FileStore(dir);
      await store.swap(KEY, null, named('one', 'two'), { write: pages('one', 'two'), remove: [] });
      const path = join(dir, 'list', nameOf('one'));
      await rm(path);
      if (what === 'a folder') await mkdir(path);
      else if (what === 'a pipe') execFileSync('mkfifo', [path]);
      else await symlink('/dev/zero', path);
      expect(await read(store, 'one')).toEqual([null]);
      expect(await read(store, 'two')).toEqual([Buffer.from('two')]);
    },
  );
});

describe('a path that is not a file', () => {
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
  it('keeps a file readable for the user who owns it', async () => {
    const store = new FileStore(dir);
    await store.swap('a.json', null, bytes('one'));
    await chown(join(dir, 'a.json'), 65_534, 65_534);
    await store.swap('a.json', bytes('one'), bytes('two'));
    expect((await stat(join(dir, 'a.json'))).uid).toBe(65_534);
  });
});
