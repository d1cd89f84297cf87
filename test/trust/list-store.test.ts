import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createIdentity,
  type Device,
  type DocumentStore,
  type ListDraft,
  openDevice,
  revokeDevice,
  setHosts,
} from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ALLOW_LIST_KEY } from '../../src/trust/list/keys';
import { ListStore } from '../../src/trust/list/list-store';
import { SEEN_KEY, SeenRevisions } from '../../src/trust/list/seen';
import { documentOf, newDevice, randomId, withDevices } from '../support/list-document';

let dir: string;
let device: Device;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  await createIdentity(dir, {}, { friendlyName: 'server' });
  device = await openDevice(dir, {});
});
afterEach(() => rm(dir, { recursive: true, maxRetries: 20 }));

const addHost = (host: string) => (draft: ListDraft) => setHosts(draft, [...draft.head.hosts, host]);
const withHost = async (host: string) => (await device.trust.update(addHost(host))).head;
const toListStore = (store: DocumentStore) => new ListStore(store, device.signer, device.identity.deviceId);

/** A store whose methods a test replaces. */
const of = (store: DocumentStore): DocumentStore => ({
  read: (key, atMost) => store.read(key, atMost),
  readPages: (key, names, atMost) => store.readPages(key, names, atMost),
  swap: (key, expected, next, pages) => store.swap(key, expected, next, pages),
});

describe('ListStore', () => {
  it('raises the revision with each change, and returns the head that it wrote', async () => {
    const written = await withHost('a.example.com');
    expect(written).toMatchObject({ revision: 2, hosts: ['a.example.com'] });
    expect((await device.trust.read()).head).toEqual(written);
    expect(await device.trust.readHead()).toEqual(written);
    expect((await withHost('b.example.com')).revision).toBe(3);
  });

  it('writes nothing if a change changes nothing', async () => {
    const before = await readFile(join(dir, ALLOW_LIST_KEY));
    const stamp = device.store.stamp(ALLOW_LIST_KEY);
    const changed = await device.trust.update(() => 'done');
    expect(changed).toMatchObject({ head: { revision: 1 }, result: 'done', isChanged: false });
    expect(await readFile(join(dir, ALLOW_LIST_KEY))).toEqual(before);
    expect(device.store.stamp(ALLOW_LIST_KEY)).toBe(stamp);
  });

  it('writes nothing if a change throws', async () => {
    const stamp = device.store.stamp(ALLOW_LIST_KEY);
    const no = new Error('no');
    await expect(
      device.trust.update(() => {
        throw no;
      }),
    ).rejects.toBe(no);
    expect(device.store.stamp(ALLOW_LIST_KEY)).toBe(stamp);
  });

  it('runs a change again if another writer was faster', async () => {
    const seen: (readonly string[])[] = [];
    const { store } = device;
    const other = toListStore(store);
    let isFirst = true;
    // Somebody else writes between our reading and our writing, once.
    const raced = toListStore({
      ...of(store),
      swap: async (key, expected, next) => {
        if (isFirst) {
          isFirst = false;
          await other.update(addHost('theirs.example.com'));
        }
        return store.swap(key, expected, next);
      },
    });
    const { head: written } = await raced.update((draft) => {
      seen.push(draft.before.hosts);
      addHost('ours.example.com')(draft);
    });
    expect(seen).toEqual([[], ['theirs.example.com']]);
    expect(written).toMatchObject({ revision: 3, hosts: ['theirs.example.com', 'ours.example.com'] });
  });

  it('gives up without a change if other writers are always faster', async () => {
    const { store } = device;
    const starved = toListStore({ ...of(store), swap: async () => false });
    await expect(starved.update(addHost('ours.example.com'))).rejects.toMatchObject({
      code: 'store_conflict',
    });
    expect((await documentOf(device.trust)).hosts).toEqual([]);
  });

  it('does not create a list if there is one', async () => {
    await expect(device.trust.create()).rejects.toMatchObject({
      code: 'store_conflict',
      message: expect.stringContaining('There is already an allow list.'),
    });
  });
});

describe('a list with pages', () => {
  const ids = Array.from({ length: 200 }, randomId);
  const [first = ''] = ids;
  const pagesOf = async () => (await readdir(join(dir, 'list'))).sort();
  beforeEach(() => withDevices(device.trust, ids));

  it('can be read completely, or only the head', async () => {
    const list = await (await openDevice(dir, {})).trust.read();
    expect([...list.devices()].map(({ deviceId }) => deviceId).sort()).toEqual([...ids].sort());
    expect(list.isWhole).toBe(true);
    expect(await device.trust.readHead()).toEqual(list.head);
    expect(await pagesOf()).toEqual(list.head.pages.map(({ content }) => content).sort());
  });

  it('returns the bytes for a copy elsewhere', async () => {
    const { head, pages, list } = await device.trust.open();
    expect(Buffer.compare(head, await readFile(join(dir, ALLOW_LIST_KEY)))).toBe(0);
    expect([...pages.keys()]).toEqual(list.head.pages.map(({ content }) => content));
  });

  it('reads and writes one page to change a device', async () => {
    await withDevices(device.trust, Array.from({ length: 1000 }, randomId));
    const { store } = device;
    const read: string[] = [];
    const written: string[] = [];
    const trust = toListStore({
      ...of(store),
      readPages: (key, names, atMost) => {
        read.push(...names);
        return store.readPages(key, names, atMost);
      },
      swap: (key, expected, next, pages) => {
        written.push(...(pages?.write.keys() ?? []));
        return store.swap(key, expected, next, pages);
      },
    });
    await trust.update((draft) => revokeDevice(draft, first, 1_764_000_000));
    expect([read.length, written.length]).toEqual([1, 1]);
  });

  it('looks for a missing page at each read, and finds it when it is back', async () => {
    const [name = ''] = await pagesOf();
    const path = join(dir, 'list', name);
    const page = await readFile(path);
    await rm(path);
    const { trust } = await openDevice(dir, {});
    const broken = await trust.read();
    expect(broken.isWhole).toBe(false);
    expect(() => broken.find(first)).toThrow(expect.objectContaining({ code: 'allow_list_unavailable' }));
    expect(await trust.read()).toBe(broken);
    await writeFile(path, page);
    expect((await trust.read()).find(first)?.deviceId).toBe(first);
  });

  it('refuses to change a device whose page is damaged', async () => {
    for (const name of await pagesOf()) await writeFile(join(dir, 'list', name), 'x');
    const { trust } = await openDevice(dir, {});
    await expect(trust.update((draft) => revokeDevice(draft, first, 0))).rejects.toMatchObject({
      code: 'allow_list_unavailable',
    });
    await trust.update(addHost('a.example.com')); // needs no page
    expect((await trust.readHead()).hosts).toEqual(['a.example.com']);
  });

  it('does not change a list that was read before', async () => {
    const older = await device.trust.read();
    await device.trust.update((draft) => revokeDevice(draft, first, Math.floor(Date.now() / 1000)));
    expect(older.find(first)?.deviceId).toBe(first);
    const newer = await device.trust.read();
    expect(newer.find(first)).toBeUndefined();
    expect(newer.isRevoked(first)).toBe(true);
    expect(newer.head.recent).toMatchObject([{ deviceId: first }]);
  });
});

describe('an exported list in place of a list', () => {
  it.each([
    ['a short text', 200, 'x'],
    ['a text larger than any head', 12_000, '🚀'.repeat(64)],
  ])('is read and changed like any other: %s', async (_, count, friendlyName) => {
    const ids = Array.from({ length: count }, randomId);
    await device.trust.update(async (draft) => {
      for (const id of ids) await draft.put(newDevice(id, friendlyName));
    });
    const { head, pages } = await device.trust.open();
    const text = Buffer.concat([head, ...pages.values()]);
    expect(text.length > 4_194_304).toBe(count > 1000);
    await rm(join(dir, 'list'), { recursive: true });
    await writeFile(join(dir, ALLOW_LIST_KEY), text);

    const { trust } = await openDevice(dir, {});
    expect((await trust.read()).isWhole).toBe(true);
    const [first = '', second = ''] = ids;
    await trust.update((draft) => revokeDevice(draft, first, Math.floor(Date.now() / 1000)));
    const list = await (await openDevice(dir, {})).trust.read();
    expect(list.isWhole).toBe(true);
    expect([list.find(first), list.find(second)?.deviceId]).toEqual([undefined, second]);
    expect((await readFile(join(dir, ALLOW_LIST_KEY))).length).toBeLessThan(100_000);
  });
});

describe('the record of what was seen', () => {
  const older = async (): Promise<Buffer> => {
    const before = await readFile(join(dir, ALLOW_LIST_KEY));
    await withHost('a.example.com');
    return before;
  };

  it('is remembered for the next process', async () => {
    await writeFile(join(dir, ALLOW_LIST_KEY), await older());
    await expect((await openDevice(dir, {})).trust.read()).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
      message: expect.stringContaining(
        'The allow list is an older copy: revision 1, but this machine has seen 2.',
      ),
    });
  });

  it('by another process makes the list that this one read last an older copy', async () => {
    const reader = await openDevice(dir, {});
    await reader.trust.read();
    const before = await older(); // which this reader has not read
    await writeFile(join(dir, ALLOW_LIST_KEY), before);
    for (let i = 0; i < 2; i++) {
      await expect(reader.trust.read()).rejects.toMatchObject({
        code: 'allow_list_integrity_failure',
        message: expect.stringContaining('revision 1, but this machine has seen 2.'),
      });
    }
  });

  it('is remembered by this process if the file is removed', async () => {
    const before = await older();
    const reader = await openDevice(dir, {});
    await documentOf(reader.trust);
    await rm(join(dir, SEEN_KEY));
    await writeFile(join(dir, ALLOW_LIST_KEY), before);
    await expect(reader.trust.read()).rejects.toMatchObject({ code: 'allow_list_integrity_failure' });
  });

  /** The store of the device, and the keys written to it, in order. */
  function watched(): { readonly store: DocumentStore; readonly written: string[] } {
    const { store } = device;
    const written: string[] = [];
    return {
      written,
      store: {
        ...of(store),
        swap: (key, expected, next, pages) => {
          written.push(key);
          return store.swap(key, expected, next, pages);
        },
      },
    };
  }

  it('is written once for a change, even if the list was changed elsewhere before it', async () => {
    const { store, written } = watched();
    const seenBefore = await readFile(join(dir, SEEN_KEY));
    await withHost('a.example.com');
    await writeFile(join(dir, SEEN_KEY), seenBefore); // as if that change was made on another machine
    const { head: changed } = await toListStore(store).update((draft) => setHosts(draft, []));
    expect(written).toEqual([ALLOW_LIST_KEY, SEEN_KEY]);
    expect(JSON.parse(await readFile(join(dir, SEEN_KEY), 'utf8'))).toMatchObject({
      [device.identity.deviceId]: { revision: changed.revision },
    });
  });

  it.each<[string, () => void]>([
    ['has nothing to do', () => {}],
    [
      'throws',
      () => {
        throw new Error('no');
      },
    ],
  ])('is updated by a change that %s', async (_, change) => {
    const { store, written } = watched();
    const seenBefore = await readFile(join(dir, SEEN_KEY));
    await withHost('a.example.com');
    const seenAfter = await readFile(join(dir, SEEN_KEY), 'utf8');
    await writeFile(join(dir, SEEN_KEY), seenBefore);
    await toListStore(store)
      .update(change)
      .catch(() => {});
    expect(written).toEqual([SEEN_KEY]);
    expect(await readFile(join(dir, SEEN_KEY), 'utf8')).toBe(seenAfter);
  });

  it('is updated after a writer was killed between the list and seen.json', async () => {
    const seen = await readFile(join(dir, SEEN_KEY));
    await older();
    await writeFile(join(dir, SEEN_KEY), seen);
    expect((await documentOf((await openDevice(dir, {})).trust)).revision).toBe(2);
    expect(JSON.parse(await readFile(join(dir, SEEN_KEY), 'utf8'))).toMatchObject({
      [device.identity.deviceId]: { revision: 2 },
    });
  });

  it('is read before the list, so that a write in between does not look like an older copy', async () => {
    const { store } = device;
    const reads: string[] = [];
    const trust = toListStore({
      ...of(store),
      async read(key) {
        reads.push(key);
        // Between the two reads, another process changes the list and records its revision.
        if (reads.length === 1) {
          const bytes = await store.read(key);
          await withHost('a.example.com');
          return bytes;
        }
        return store.read(key);
      },
    });
    expect((await documentOf(trust)).revision).toBe(2);
    expect(reads.slice(0, 2)).toEqual([SEEN_KEY, ALLOW_LIST_KEY]);
  });

  it('is not replaced by a slower reader', async () => {
    const { deviceId } = device.identity;
    const seen = (revision: number) => ({
      revision,
      owner: device.identity.publicKey,
      mark: `mark ${revision}`,
    });
    const open = () => new SeenRevisions(device.store, [device.signer.publicKey]);
    await open().remember(deviceId, seen(9));
    await open().remember(deviceId, seen(8));
    expect(await open().read(deviceId)).toEqual(seen(9));
  });

  it('is damaged if its revision is not one that a list can have', async () => {
    for (const revision of [2 ** 48, -1, 0, 1.5, '2', null]) {
      await writeFile(join(dir, SEEN_KEY), JSON.stringify({ am_x: { revision, owner: '', mark: '' } }));
      await expect(device.trust.read()).rejects.toMatchObject({
        code: 'allow_list_integrity_failure',
        message: expect.stringContaining('seen.json, which remembers the newest allow list, is damaged.'),
      });
    }
  });
});

describe('openDevice', () => {
  it('says what is missing', async () => {
    await expect(openDevice(join(dir, 'none'), {})).rejects.toMatchObject({
      code: 'no_identity',
      message: `There is no amesh identity in ${join(dir, 'none')}. Run: amesh init --name NAME`,
    });
    await writeFile(join(dir, 'identity.json'), '{}');
    await expect(openDevice(dir, {})).rejects.toMatchObject({ code: 'identity_unreadable' });
  });

  it('says that the key file is gone', async () => {
    await rm(join(dir, device.identity.key.ref));
    await expect(openDevice(dir, {})).rejects.toMatchObject({
      code: 'identity_unreadable',
      message: expect.stringContaining(`The key file ${join(dir, device.identity.key.ref)} is missing.`),
    });
  });

  it('follows no reference out of the folder', async () => {
    const text = await readFile(join(dir, 'identity.json'), 'utf8');
    await writeFile(join(dir, 'identity.json'), text.replace(/keys\/[^"]+/, '../keys/x.pem'));
    await expect(openDevice(dir, {})).rejects.toMatchObject({
      code: 'identity_unreadable',
      message: expect.stringContaining('identity.json names a key file that amesh did not write.'),
    });
  });
});
