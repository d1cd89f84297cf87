import { chmod, chown, lchown, lstat, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { assertFolder, createIdentity, inspectFolder, openDevice, resetTrust } from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { callsOf } from '../support/calls-of';
import { documentOf } from '../support/list-document';
import { listen } from '../support/listen';

/** A user that no machine has. */
const EVE = 54_321;
const isRoot = process.getuid?.() === 0;

let root: string;
let dir: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-folder-'));
  dir = join(root, 'way', 'amesh');
});
afterEach(() => rm(root, { recursive: true, force: true, maxRetries: 20 }));

const kinds = (path = dir, env = {}) => inspectFolder(path, env).map((found) => [found.kind, found.path]);

describe('a folder of this user', () => {
  it('is safe before and after it is made, even in /tmp', async () => {
    expect(kinds()).toEqual([]);
    await createIdentity(dir, {}, { friendlyName: 'a' });
    expect(kinds()).toEqual([]);
    expect(kinds(join(tmpdir(), 'not-there', 'amesh'))).toEqual([]);
    assertFolder(dir, {}, 'change');
  });

  it('is followed through links, including relative ones and those of a mounted secret', async () => {
    await createIdentity(join(root, 'real'), {}, { friendlyName: 'a' });
    await mkdir(dirname(dir));
    await symlink('../real', dir);
    expect(kinds()).toEqual([]);
    await chmod(join(root, 'real'), 0o777);
    expect(kinds()).toEqual([['open', join(root, 'real')]]);

    const secret = join(root, 'secret');
    await mkdir(join(secret, '..2026'), { recursive: true });
    await symlink('..2026', join(secret, '..data'));
    await writeFile(join(secret, '..2026', 'identity.json'), '{}');
    await symlink('..data/identity.json', join(secret, 'identity.json'));
    await chmod(secret, 0o1777);
    expect(kinds(secret)).toEqual([]);
  });

  it('ends at links without an end', async () => {
    await mkdir(dirname(dir));
    await symlink(dir, dir);
    expect(kinds()).toEqual([['open', dir]]);
  });
});

describe('a folder that others can write', () => {
  it.each([
    ['the parent, by everybody', 0o777, 'everybody (0777)'],
    ['the parent, by a group', 0o770, 'the group '],
  ])('is reported: %s', async (_, mode, who) => {
    await mkdir(dirname(dir));
    if (isRoot) await chown(dirname(dir), 0, EVE);
    await chmod(dirname(dir), mode);
    const isPrivate = !isRoot && kinds().length === 0 && mode === 0o770;
    if (isPrivate) return; // the user who runs this may have a group of their own
    const [found] = inspectFolder(dir, {});
    expect(found).toMatchObject({ kind: 'open', path: dirname(dir) });
    expect(found?.message).toContain(`${dirname(dir)} can be written by ${who}`);
    expect(found?.message).toContain(`, who can replace ${dir}.`);
    expect(found?.fix).toMatch(/^chmod (?:go-w|\+t) /);
    expect(() => assertFolder(dir, {}, 'change')).toThrow(expect.objectContaining({ code: 'folder_unsafe' }));
    assertFolder(dir, {}, 'read');
    assertFolder(dir, { AMESH_FOLDER_OWNERS: 'any' }, 'change');
  });

  it.each(['.', 'identity.json', 'allow_list.json', 'list', 'keys', '.passphrase'])(
    'is reported: %s',
    async (name) => {
      await createIdentity(dir, {}, { friendlyName: 'a' });
      if (name === 'list') await mkdir(join(dir, name));
      await chmod(join(dir, name), 0o777);
      expect(kinds()).toEqual([['open', join(dir, name)]]);
    },
  );

  it('is reported if everybody can make what does not exist yet', async () => {
    await mkdir(dir, { recursive: true });
    await chmod(dir, 0o1777);
    expect(inspectFolder(dir, {})[0]?.fix).toBe(
      `Use a folder in it: export AUTH_MESH_DIR=${join(dir, 'amesh')}`,
    );
    expect(kinds(join(dir, 'amesh'))).toEqual([]);
  });

  it('does not stop a server, which reports it once', async () => {
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await createIdentity(dir, {}, { friendlyName: 'target' });
    await chmod(dir, 0o777);
    const server = createAmesh({ dir, env: {} });
    server.verify();
    server.verify();
    expect((await server.identity()).friendlyName).toBe('target');
    expect(callsOf(warned)).toEqual([
      [`amesh: ${dir} can be written by everybody (0777). chmod 700 ${dir}.`],
    ]);
    // Of an instance without the key the folder only remembers how new the list was.
    warned.mockClear();
    const AMESH_OWNER_KEY = (await server.identity()).publicKey;
    createAmesh({ dir, env: { AMESH_OWNER_KEY } }).verify();
    expect(callsOf(warned)).toEqual([]);
    warned.mockRestore();
  });
});

// Only root can give a folder to somebody else.
describe.skipIf(!isRoot)('a folder of another user', () => {
  const unsafe = { code: 'folder_unsafe', message: expect.stringContaining('uid 54321') };

  it('is reported, with its owner and a command', async () => {
    await createIdentity(dir, {}, { friendlyName: 'a' });
    await chown(dir, EVE, EVE);
    const [found] = inspectFolder(dir, {});
    expect(found?.message).toBe(`${dir} belongs to uid 54321, and this process runs as root.`);
    expect(found?.fix).toContain('export AUTH_MESH_DIR=/');
    expect(found?.fix).toMatch(/export AMESH_FOLDER_OWNERS=54321$/);
    expect(kinds(dir, { AMESH_FOLDER_OWNERS: '1000, 54321' })).toEqual([]);
  });

  it('is no place for an identity, and nothing in it is used or reset', async () => {
    await createIdentity(dir, {}, { friendlyName: 'a' });
    await chown(dirname(dir), EVE, EVE);
    await expect(createIdentity(join(dirname(dir), 'b'), {}, { friendlyName: 'b' })).rejects.toMatchObject(
      unsafe,
    );
    await expect(lstat(join(dirname(dir), 'b'))).rejects.toThrow('ENOENT');
    await expect(openDevice(dir, {})).rejects.toMatchObject(unsafe);
    await expect(resetTrust(dir, {})).rejects.toMatchObject(unsafe);
    await openDevice(dir, { AMESH_FOLDER_OWNERS: '54321' });
  });

  it('is found even in /tmp, if another user has made it first', async () => {
    await chmod(root, 0o1777);
    await mkdir(dirname(dir));
    await chown(dirname(dir), EVE, EVE);
    expect(kinds()).toEqual([['foreign', dirname(dir)]]);
  });

  it('is found if a link of theirs in /tmp leads to a safe one', async () => {
    await mkdir(join(root, 'real'));
    await mkdir(join(root, 'tmp'));
    await chmod(join(root, 'tmp'), 0o1777);
    const link = join(root, 'tmp', 'amesh');
    await symlink(join(root, 'real'), link);
    expect(kinds(link)).toEqual([]);
    await lchown(link, EVE, EVE);
    expect(kinds(link)).toEqual([['foreign', link]]);
  });

  it('is found if a file of theirs lies in a folder in which everybody can make files', async () => {
    await createIdentity(dir, {}, { friendlyName: 'a' });
    await chmod(dir, 0o1777);
    expect(kinds()).toEqual([]);
    await chown(join(dir, 'identity.json'), EVE, EVE);
    expect(kinds()).toEqual([['foreign', join(dir, 'identity.json')]]);
  });

  it('makes a server refuse every request and sign none, and the log says so at the start', async () => {
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await createIdentity(dir, {}, { friendlyName: 'target' });
    await createIdentity(join(root, 'caller'), {}, { friendlyName: 'caller' });
    await chown(dir, EVE, EVE);
    const target = createAmesh({ dir, env: {} });
    const middleware = target.verify();
    const line = `amesh: ${dir} belongs to uid 54321, and this process runs as root. `;
    expect(callsOf(warned)).toEqual([[expect.stringContaining(line)]]);
    expect(String(callsOf(warned)[0])).toContain('Until then this machine refuses every signed request');
    const server = await listen((request, response) => middleware(request, response, () => response.end()));
    const caller = createAmesh({ dir: join(root, 'caller'), env: {} });
    const response = await caller.fetch(server.origin);
    expect([response.status, await response.json()]).toEqual([503, { error: 'allow_list_unavailable' }]);
    await expect(target.fetch(server.origin)).rejects.toMatchObject(unsafe);
    expect(warned.mock.calls.flat().join('\n')).toContain('refused 503 folder_unsafe: ');
    await server.close();

    // An instance without the key says so too, and goes on: the list is sealed by somebody else.
    warned.mockClear();
    const AMESH_OWNER_KEY = (await caller.identity()).publicKey;
    createAmesh({ dir: join(dir, 'reader'), env: { AMESH_OWNER_KEY } }).verify();
    expect(callsOf(warned)).toEqual([
      [expect.stringContaining('cannot prove its answers')],
      [expect.stringContaining('who can replace')],
    ]);
    warned.mockRestore();
  });

  it('does not stop root from using files that it has given to a server', async () => {
    await createIdentity(dir, {}, { friendlyName: 'a' });
    for (const name of ['identity.json', 'allow_list.json', 'keys']) await chown(join(dir, name), EVE, EVE);
    expect(kinds()).toEqual([]);
    const { trust } = await openDevice(dir, {});
    expect((await documentOf(trust)).devices).toEqual([]);
  });
});

describe('AMESH_FOLDER_OWNERS', () => {
  it.each(['deploy', '-1', '1;2', '1,,2', 'Any', '0x10'])('is a TypeError: %s', (text) => {
    expect(() => inspectFolder(dir, { AMESH_FOLDER_OWNERS: text })).toThrow(TypeError);
    const amesh = createAmesh({ dir, env: { AMESH_FOLDER_OWNERS: text } });
    expect(() => amesh.verify()).toThrow('AMESH_FOLDER_OWNERS must be user IDs');
  });
});
