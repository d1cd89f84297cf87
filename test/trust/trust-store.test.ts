import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AllowListDocument,
  createIdentity,
  type Device,
  type DocumentStore,
  openDevice,
} from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SEEN_KEY, SeenRevisions } from '../../src/trust/list/seen';
import { ALLOW_LIST_KEY, TrustStore } from '../../src/trust/list/trust-store';

let dir: string;
let device: Device;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  await createIdentity(dir, {}, { friendlyName: 'server' });
  device = await openDevice(dir, {});
});
afterEach(() => rm(dir, { recursive: true, maxRetries: 20 }));

const withHost = (host: string) => device.trust.update((list) => ({ ...list, hosts: [...list.hosts, host] }));
const toTrustStore = (store: DocumentStore) => new TrustStore(store, device.signer, device.identity.deviceId);

describe('TrustStore', () => {
  it('counts each change, and gives what it has written', async () => {
    const written = await withHost('a.example.com');
    expect(written).toMatchObject({ revision: 2, hosts: ['a.example.com'] });
    expect(await device.trust.read()).toEqual(written);
    expect((await withHost('b.example.com')).revision).toBe(3);
  });

  it('writes nothing where a change changes nothing', async () => {
    const before = await readFile(join(dir, ALLOW_LIST_KEY));
    const stamp = device.store.stamp(ALLOW_LIST_KEY);
    expect((await device.trust.update((list) => list)).revision).toBe(1);
    expect(await readFile(join(dir, ALLOW_LIST_KEY))).toEqual(before);
    expect(device.store.stamp(ALLOW_LIST_KEY)).toBe(stamp);
  });

  it('writes nothing where a change throws', async () => {
    const stamp = device.store.stamp(ALLOW_LIST_KEY);
    const no = new Error('no');
    await expect(
      device.trust.update(() => {
        throw no;
      }),
    ).rejects.toBe(no);
    expect(device.store.stamp(ALLOW_LIST_KEY)).toBe(stamp);
  });

  it('runs a change again on the list of a faster process', async () => {
    const seen: (readonly string[])[] = [];
    const { store } = device;
    const other = toTrustStore(store);
    let isFirst = true;
    // Somebody else writes between our reading and our writing, once.
    const raced = toTrustStore({
      read: (key) => store.read(key),
      swap: async (key, expected, next) => {
        if (isFirst) {
          isFirst = false;
          await other.update((list) => ({ ...list, hosts: ['theirs.example.com'] }));
        }
        return store.swap(key, expected, next);
      },
    });
    const written = await raced.update((list) => {
      seen.push(list.hosts);
      return { ...list, hosts: [...list.hosts, 'ours.example.com'] };
    });
    expect(seen).toEqual([[], ['theirs.example.com']]);
    expect(written).toMatchObject({ revision: 3, hosts: ['theirs.example.com', 'ours.example.com'] });
  });

  it('gives up, with nothing changed, where others are always faster', async () => {
    const { store } = device;
    const starved = toTrustStore({ read: (key) => store.read(key), swap: async () => false });
    await expect(starved.update((list) => ({ ...list, hosts: ['ours.example.com'] }))).rejects.toMatchObject({
      code: 'store_conflict',
    });
    expect((await device.trust.read()).hosts).toEqual([]);
  }, 30_000);

  it('makes no list where there is one', async () => {
    await expect(device.trust.create({})).rejects.toMatchObject({
      code: 'store_conflict',
      message: expect.stringContaining('There is already an allow list.'),
    });
  });
});

describe('what was seen', () => {
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

  it('is remembered by this process where the file is taken away', async () => {
    const before = await older();
    const reader = await openDevice(dir, {});
    await reader.trust.read();
    await rm(join(dir, SEEN_KEY));
    await writeFile(join(dir, ALLOW_LIST_KEY), before);
    await expect(reader.trust.read()).rejects.toMatchObject({ code: 'allow_list_integrity_failure' });
  });

  /** The store of the device, and what was written to it in its order. */
  function watched(): { readonly store: DocumentStore; readonly written: string[] } {
    const { store } = device;
    const written: string[] = [];
    return {
      written,
      store: {
        read: (key) => store.read(key),
        swap: (key, expected, next) => {
          written.push(key);
          return store.swap(key, expected, next);
        },
      },
    };
  }

  it('is written once for a change, also where the list was changed elsewhere before', async () => {
    const { store, written } = watched();
    const seenBefore = await readFile(join(dir, SEEN_KEY));
    await withHost('a.example.com');
    await writeFile(join(dir, SEEN_KEY), seenBefore); // as where that was on another machine
    const changed = await toTrustStore(store).update((list) => ({ ...list, hosts: [] }));
    expect(written).toEqual([ALLOW_LIST_KEY, SEEN_KEY]);
    expect(JSON.parse(await readFile(join(dir, SEEN_KEY), 'utf8'))).toMatchObject({
      [device.identity.deviceId]: { revision: changed.revision },
    });
  });

  it.each<[string, (list: AllowListDocument) => AllowListDocument]>([
    ['has nothing to do', (list) => list],
    [
      'throws',
      () => {
        throw new Error('no');
      },
    ],
  ])('is caught up with by a change that %s', async (_, change) => {
    const { store, written } = watched();
    const seenBefore = await readFile(join(dir, SEEN_KEY));
    await withHost('a.example.com');
    const seenAfter = await readFile(join(dir, SEEN_KEY), 'utf8');
    await writeFile(join(dir, SEEN_KEY), seenBefore);
    await toTrustStore(store)
      .update(change)
      .catch(() => {});
    expect(written).toEqual([SEEN_KEY]);
    expect(await readFile(join(dir, SEEN_KEY), 'utf8')).toBe(seenAfter);
  });

  it('is caught up with where a writer was killed between the list and seen.json', async () => {
    const seen = await readFile(join(dir, SEEN_KEY));
    await older();
    await writeFile(join(dir, SEEN_KEY), seen);
    expect((await (await openDevice(dir, {})).trust.read()).revision).toBe(2);
    expect(JSON.parse(await readFile(join(dir, SEEN_KEY), 'utf8'))).toMatchObject({
      [device.identity.deviceId]: { revision: 2 },
    });
  });

  it('is read before the list, so that a writer in between is no older copy', async () => {
    const { store } = device;
    const reads: string[] = [];
    const trust = toTrustStore({
      async read(key) {
        reads.push(key);
        // The list moves on between the two reads, and what was seen with it.
        if (reads.length === 1) {
          const bytes = await store.read(key);
          await withHost('a.example.com');
          return bytes;
        }
        return store.read(key);
      },
      swap: (key, expected, next) => store.swap(key, expected, next),
    });
    expect((await trust.read()).revision).toBe(2);
    expect(reads.slice(0, 2)).toEqual([SEEN_KEY, ALLOW_LIST_KEY]);
  });

  it('is not taken back by a reader that was slower', async () => {
    const { deviceId } = device.identity;
    await new SeenRevisions(device.store).remember(deviceId, { revision: 9, hash: 'newer' });
    await new SeenRevisions(device.store).remember(deviceId, { revision: 8, hash: 'older' });
    expect(await new SeenRevisions(device.store).read(deviceId)).toEqual({ revision: 9, hash: 'newer' });
  });

  it('is refused beyond what any list comes to', async () => {
    for (const revision of [2 ** 48, -1, 0, 1.5, '2', null]) {
      await writeFile(join(dir, SEEN_KEY), JSON.stringify({ am_x: { revision, hash: '' } }));
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
