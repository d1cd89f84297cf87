import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { addDevice, createIdentity, openDevice, resetTrust, setHosts } from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { documentOf } from '../support/list-document';

let root: string;
let dir: string;
let peerId: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  dir = join(root, 'server');
  await createIdentity(dir, {}, { friendlyName: 'server' });
  const peer = await createIdentity(join(root, 'peer'), {}, { friendlyName: 'peer' });
  peerId = peer.deviceId;
  const { trust } = await openDevice(dir, {});
  await trust.update((list) => addDevice(list, { ...peer, role: 'controller', hosts: [] }, 0));
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

const path = (name: string) => join(dir, name);
const devices = async () => (await documentOf((await openDevice(dir, {})).trust)).devices;

/** Runs what a user runs who may not read everything: root gives its folder, and its rights, away for so long. */
async function asNobody<T>(run: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return run();
  await promisify(execFile)('chown', ['-R', '65534', root]);
  process.seteuid?.(65534);
  try {
    return await run();
  } finally {
    process.seteuid?.(0);
  }
}

/** Something in the place of a file, by what is wrong with it. */
const DAMAGES: Record<string, (file: string) => Promise<unknown>> = {
  truncated: (file) => truncate(file, 5),
  empty: (file) => writeFile(file, ''),
  garbage: (file) => writeFile(file, Buffer.from([0, 255, 254, 10])),
  'a directory': async (file) => {
    await rm(file);
    await mkdir(file);
    await writeFile(join(file, 'x'), 'x');
  },
};

describe('a seen.json that is damaged', () => {
  const FIX = /you can also continue from it: amesh trust reset --keep$/;

  it.each(Object.entries(DAMAGES))(
    '%s: names the fix that keeps every pairing, and it works',
    async (_, damage) => {
      await damage(path('seen.json'));
      await expect(devices()).rejects.toMatchObject({
        code: 'allow_list_integrity_failure',
        fix: expect.stringMatching(FIX),
      });
      await resetTrust(dir, {}, { keep: true });
      expect((await devices()).map(({ deviceId }) => deviceId)).toEqual([peerId]);
      expect(JSON.parse(await readFile(path('seen.json'), 'utf8'))).toBeTypeOf('object');
    },
  );

  it.each([
    ['from the future', 2 ** 40],
    ['at the end of all revisions', 2 ** 48 - 1],
  ])('%s: --keep goes beyond it', async (_, revision) => {
    const { identity } = await openDevice(dir, {});
    await writeFile(
      path('seen.json'),
      JSON.stringify({ [identity.deviceId]: { revision, owner: identity.publicKey, mark: 'x' } }),
    );
    await expect(devices()).rejects.toMatchObject({
      fix: expect.stringMatching(/: amesh trust reset --keep$/),
    });
    await resetTrust(dir, {}, { keep: true });
    expect(await devices()).toHaveLength(1);
    expect(await devices()).toHaveLength(1); // and it can be read again
  });

  it('of another list says nothing about this one', async () => {
    await writeFile(
      path('seen.json'),
      JSON.stringify({ am_AAAAAAAAAAAAAAAA: { revision: 99, owner: 'x', mark: 'x' } }),
    );
    expect(await devices()).toHaveLength(1);
  });

  it('unreadable: says so, and nothing must be reset', async () => {
    await chmod(path('seen.json'), 0);
    await asNobody(() =>
      expect(devices()).rejects.toMatchObject({
        code: 'allow_list_unavailable',
        fix: expect.not.stringContaining('reset'),
      }),
    );
  });

  it('blocks an older list until a person says that the list is right', async () => {
    await writeFile(path('seen.json'), '{');
    for (let i = 0; i < 2; i++)
      await expect(devices()).rejects.toMatchObject({ code: 'allow_list_integrity_failure' });
  });
});

describe.each(['identity.json', 'allow_list.json', 'seen.json', '.passphrase'])(
  'init --force, when %s is',
  (name) => {
    it.each(Object.entries(DAMAGES))('%s', async (_, damage) => {
      await chmod(path(name), 0o600);
      await damage(path(name));
      const { movedTo } = await createIdentity(dir, {}, { friendlyName: 'new', force: true });
      expect(movedTo).toMatch(/replaced/);
      const { identity, trust } = await openDevice(dir, {});
      expect(identity.friendlyName).toBe('new');
      expect((await documentOf(trust)).devices).toEqual([]);
    });
  },
);

describe('what the fix says about a damaged file', () => {
  it.each([
    [
      'identity.json',
      'garbage',
      /^Restore the right identity\.json\. .* create a new identity, and pair again: amesh init --name NAME --force$/,
    ],
    [
      '.passphrase',
      'garbage',
      /^Restore it from a backup\. .* create a new identity, and pair again: amesh init --name NAME --force$/,
    ],
    ['.passphrase', 'a directory', /^Restore it from a backup\. /],
    [
      'allow_list.json',
      'truncated',
      /^Restore the right allow_list\.json, or start an empty list with: amesh trust reset$/,
    ],
    ['allow_list.json', 'a directory', /^Restore the right file\.$/],
  ] as const)('%s, %s', async (name, damage, fix) => {
    await chmod(path(name), 0o600);
    await (DAMAGES[damage] as (typeof DAMAGES)[string])(path(name));
    await expect(devices()).rejects.toMatchObject({ fix: expect.stringMatching(fix) });
  });

  it('a key file that is truncated, or gone', async () => {
    const { identity } = await openDevice(dir, {});
    const fix = expect.stringMatching(
      /^Restore it from a backup\. .*, and pair again: amesh init --name NAME --force$/,
    );
    await truncate(path(identity.key.ref), 20);
    await expect(devices()).rejects.toMatchObject({ code: 'identity_unreadable', fix });
    await rm(path(identity.key.ref));
    await expect(devices()).rejects.toMatchObject({ code: 'identity_unreadable', fix });
  });

  it('a last_seen.txt that is damaged stops nobody', async () => {
    await writeFile(path('last_seen.txt'), Buffer.from([0, 255]));
    expect(await devices()).toHaveLength(1);
  });

  it('a file in place of the lock: it says which one to remove, and that nothing was changed', async () => {
    await writeFile(path('allow_list.json.lock'), '');
    const { trust } = await openDevice(dir, {});
    await expect(trust.update((list) => setHosts(list, ['a.example']))).rejects.toMatchObject({
      code: 'store_busy',
      message: `${path('allow_list.json.lock')} is the place of a lock, but not a folder. Remove it, and try again. No changes were made.`,
    });
  });
});
