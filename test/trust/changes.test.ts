import {
  addDevice,
  confirmDevice,
  cutKeys,
  type DeviceEntry,
  dismissController,
  findDevice,
  type ListHead,
  type NewDevice,
  renameDevice,
  revokeDevice,
  setHosts,
} from '@authmesh/sdk/admin';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ListDraft } from '../../src/trust/format/draft';
import type { Tombstone } from '../../src/trust/format/entry';
import { emptyHead } from '../support/list-document';

const NOW = 1_764_000_000;
const KEY_A = `Ag${'a'.repeat(42)}`;
const KEY_B = `Ag${'b'.repeat(42)}`;
const ID_A = `am_${'a'.repeat(16)}`;
const ID_B = `am_${'b'.repeat(16)}`;

const empty: ListHead = Object.freeze(emptyHead({ revision: 1 }));

const noPage = () => Promise.reject(new Error('A small list has no page.'));

/** A small list for many changes, like those of a writer. */
class List {
  head = empty;

  /** @returns whether there is a new revision */
  async change(change: (draft: ListDraft) => unknown, nowSeconds = NOW): Promise<boolean> {
    const draft = new ListDraft(this.head, noPage, nowSeconds);
    await change(draft);
    if (!draft.isChanged) return false;
    this.head = (await draft.finish()).head;
    return true;
  }

  add(device: NewDevice, nowSeconds = NOW): Promise<boolean> {
    return this.change((draft) => addDevice(draft, device, nowSeconds), nowSeconds);
  }

  revoke(id: string, nowSeconds = NOW): Promise<boolean> {
    return this.change((draft) => revokeDevice(draft, id, nowSeconds), nowSeconds);
  }

  async devices(): Promise<DeviceEntry[]> {
    const devices: DeviceEntry[] = [];
    for await (const device of new ListDraft(this.head, noPage, NOW).devices()) devices.push(device);
    return devices;
  }

  get tombstones(): Tombstone[] {
    const entries = this.head.pages.flatMap(({ content }) => content) as { id: string }[];
    return entries
      .filter((entry) => 'revokedAt' in entry)
      .map(({ id: deviceId, ...rest }) => ({ deviceId, ...rest }) as unknown as Tombstone);
  }
}

let list: List;
beforeEach(() => {
  list = new List();
});

const device = (more: Partial<NewDevice> = {}): NewDevice => ({
  deviceId: ID_A,
  publicKey: KEY_A,
  friendlyName: 'alice',
  role: 'controller',
  hosts: [],
  ...more,
});
const other = (more: Partial<NewDevice> = {}) =>
  device({ deviceId: ID_B, publicKey: KEY_B, friendlyName: 'bob', ...more });

const withCode = (code: string, text = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

describe('addDevice', () => {
  it('adds a device with its role, hosts, a clean name and the time', async () => {
    await list.add(device({ role: 'target', hosts: ['api.example.com'], friendlyName: '\x1b[31malice' }));
    expect(await list.devices()).toEqual([
      {
        deviceId: ID_A,
        publicKey: KEY_A,
        friendlyName: 'alice',
        roles: ['target'],
        hosts: ['api.example.com'],
        addedAt: NOW,
      },
    ]);
    expect(list.head.targets).toEqual([['api.example.com', ID_A]]);
  });

  it('does not change the head that it was given', async () => {
    const before = structuredClone(empty);
    await list.add(device());
    expect(empty).toEqual(before);
  });

  it('adds a role to a known device only once', async () => {
    await list.add(device());
    const asTarget = device({ role: 'target', hosts: ['a.example.com'] });
    expect(await list.add(asTarget, NOW + 9)).toBe(true);
    expect(await list.devices()).toMatchObject([
      { roles: ['controller', 'target'], hosts: ['a.example.com'], addedAt: NOW },
    ]);
    expect(await list.add(device(), NOW + 9)).toBe(false);
    expect(await list.add(asTarget, NOW + 9)).toBe(false);
  });

  it('keeps the name of a known device', async () => {
    await list.add(device());
    await list.add(device({ role: 'target', friendlyName: 'new' }));
    expect((await list.devices())[0]?.friendlyName).toBe('alice');
  });

  it('gives a second device the same name, because a name is a label', async () => {
    await list.add(device());
    await list.add(other({ friendlyName: 'alice' }));
    expect((await list.devices()).map(({ friendlyName }) => friendlyName)).toEqual(['alice', 'alice']);
  });

  it('refuses a known ID with another key', async () => {
    await list.add(device());
    const again = list.add(device({ publicKey: KEY_B }));
    await expect(again).rejects.toThrowError(
      withCode('key_mismatch', 'The allow list has a device with this ID and another key.'),
    );
    await expect(again).rejects.toThrowError(
      `If the new key is right, first run: amesh revoke ${device().deviceId}`,
    );
  });

  it('names the device that has a host by its ID, because several devices may have its name', async () => {
    await list.add(device({ role: 'target', hosts: ['a.example'] }));
    await expect(list.add(other({ role: 'target', hosts: ['a.example'] }))).rejects.toThrowError(
      `Use another host, or first run: amesh revoke ${ID_A}`,
    );
  });

  it('refuses its own key', async () => {
    await expect(list.add(device({ publicKey: empty.owner }))).rejects.toThrowError(withCode('own_key'));
    await expect(list.add(device({ deviceId: empty.list }))).rejects.toThrowError(
      withCode('own_key', "This is this machine's own key."),
    );
  });

  it('refuses a host that belongs to another target', async () => {
    await list.add(device({ role: 'target', hosts: ['a.example.com', 'b.example.com'] }));
    await expect(
      list.add(other({ role: 'target', hosts: ['c.example.com', 'b.example.com'] })),
    ).rejects.toThrowError(withCode('host_taken', 'b.example.com already belongs to "alice".'));
  });

  it('ends the lease of a device that is paired as a controller, and keeps it if the device becomes a target', async () => {
    const lease = { grant: 'g', expiresAt: NOW + 10, endsAt: NOW + 20 };
    await list.add(device());
    await list.change(async (draft) => draft.put({ ...((await draft.device(ID_A)) as DeviceEntry), lease }));
    await list.add(device({ role: 'target' }));
    expect((await list.devices())[0]?.lease).toEqual(lease);
    await list.add(device());
    expect((await list.devices())[0]?.lease).toBeUndefined();
  });
});

describe('confirmDevice', () => {
  it('records it once, and only for a device in the list', async () => {
    const confirm = () => list.change((draft) => confirmDevice(draft, ID_A));
    expect(await confirm()).toBe(false);
    await list.add(device({ role: 'target', unconfirmed: true }));
    expect((await list.devices())[0]?.unconfirmed).toBe(true);
    expect(await confirm()).toBe(true);
    expect((await list.devices())[0]).not.toHaveProperty('unconfirmed');
    expect(await confirm()).toBe(false);
  });
});

describe('revokeDevice', () => {
  it('removes a device with all its roles, and remembers its ID for more than a day', async () => {
    await list.add(device());
    await list.add(device({ role: 'target', hosts: ['a.example'] }));
    await list.revoke(ID_A);
    expect(await list.devices()).toEqual([]);
    expect(list.tombstones).toEqual([{ deviceId: ID_A, revokedAt: NOW, until: NOW + 25 * 3600 }]);
    expect(list.head).toMatchObject({ recent: list.tombstones, targets: [] });
  });

  it('changes nothing for a device that is unknown or already revoked', async () => {
    expect(await list.revoke(ID_A)).toBe(false);
    await list.add(device());
    await list.revoke(ID_A);
    expect(await list.revoke(ID_A, NOW + 1)).toBe(false);
  });

  it('forgets only tombstones whose time is over', async () => {
    await list.add(device());
    await list.add(other());
    await list.revoke(ID_A);
    const { head } = list;
    await list.revoke(ID_B, NOW + 25 * 3600 - 1);
    expect(list.tombstones).toHaveLength(2);
    list.head = head;
    await list.revoke(ID_B, NOW + 25 * 3600);
    expect(list.tombstones).toMatchObject([{ deviceId: ID_B }]);
    expect(list.head.recent).toMatchObject([{ deviceId: ID_B }]);
  });

  it('lets a person add the device again, without its earlier roles and hosts', async () => {
    await list.add(device({ role: 'target', hosts: ['a.example.com'] }));
    await list.revoke(ID_A);
    await list.add(device(), NOW + 5);
    expect(await list.devices()).toMatchObject([
      { roles: ['controller'], hosts: [], addedAt: NOW + 5, keysSince: NOW }, // its delegates stay revoked
    ]);
    expect(list.tombstones).toEqual([]);
    expect(list.head.recent).toEqual([]); // otherwise it would be refused until its page is read
  });
});

describe('what a device signed before', () => {
  const controller: NewDevice = {
    deviceId: ID_A,
    publicKey: KEY_A,
    friendlyName: 'worker',
    role: 'controller',
    hosts: [],
  };

  it('it was revoked does not count after it is paired again', async () => {
    const list = new List();
    await list.add(controller, NOW - 100);
    await list.revoke(ID_A, NOW - 50);
    await list.add(controller);
    expect(await list.devices()).toMatchObject([{ deviceId: ID_A, keysSince: NOW - 50 }]);
  });

  it('it lost the role of a controller does not count after it is paired again, either', async () => {
    const list = new List();
    await list.add(controller, NOW - 100);
    await list.add({ ...controller, role: 'target', hosts: ['api.example.com'] }, NOW - 100);
    await list.change((draft) => dismissController(draft, ID_A, NOW - 50), NOW - 50);
    await list.add(controller);
    expect(await list.devices()).toMatchObject([
      { deviceId: ID_A, roles: ['target', 'controller'], keysSince: NOW - 50 },
    ]);
  });

  it('its keys were cut does not count after its lease has ended and it enrols again', async () => {
    const list = new List();
    await list.add(controller, NOW - 100);
    await list.change(async (draft) => {
      const device = (await draft.device(ID_A)) as DeviceEntry;
      await draft.put({ ...device, lease: { grant: 'g', expiresAt: NOW - 40, endsAt: NOW - 40 } });
      await cutKeys(draft, ID_A, NOW - 50);
    }, NOW - 50);
    await list.add({ ...controller, deviceId: ID_B, publicKey: KEY_B }); // writes the page
    await list.add(controller);
    expect((await list.devices())[0]).toMatchObject({ deviceId: ID_A, keysSince: NOW - 50 });
    const later = NOW - 50 + 25 * 3600 + 1;
    await list.change(async (draft) => {
      const device = (await draft.device(ID_A)) as DeviceEntry;
      await draft.put({ ...device, lease: { grant: 'g', expiresAt: NOW - 40, endsAt: NOW - 40 } });
    }, later);
    expect((await list.devices()).map(({ deviceId }) => deviceId)).toEqual([ID_B]);
  });
});

describe('setHosts', () => {
  it('replaces the hosts, without duplicates', async () => {
    const set = (...hosts: string[]) => list.change((draft) => setHosts(draft, hosts));
    await set('a.example.com', 'b.example.com', 'a.example.com');
    expect(list.head.hosts).toEqual(['a.example.com', 'b.example.com']);
    expect(await set('b.example.com', 'a.example.com')).toBe(false);
    await set('a.example.com', 'a.example.com');
    expect(list.head.hosts).toEqual(['a.example.com']);
    await set();
    expect(list.head.hosts).toEqual([]);
  });
});

describe('findDevice', () => {
  const entry = (deviceId: string, friendlyName: string): DeviceEntry => ({
    deviceId,
    publicKey: '',
    friendlyName,
    roles: ['controller'],
    hosts: [],
    addedAt: 0,
  });
  const devices = [
    entry(ID_A, 'alice'),
    entry(ID_B, 'Alice-2'),
    // A name that looks like an ID, which only an import could bring.
    entry('am_cccccccccccccccc', ID_A),
    entry('am_dddddddddddddddd', 'twin'),
    entry('am_eeeeeeeeeeeeeeee', 'twin'),
    entry('am_ffffffffffffffff', 'Web'),
    entry('am_gggggggggggggggg', 'WEB'),
    ...Array.from({ length: 12 }, (_, i) => entry(`am_${String(i).padStart(16, '0')}`, 'many')),
  ];
  const found = {
    entry: (id: string) => devices.find(({ deviceId }) => deviceId === id),
    devices: () => devices,
  };

  it.each([
    ['an ID before a name that looks like it', ID_A, ID_A],
    ['a name', 'alice', ID_A],
    ['a name in another case', 'ALICE-2', ID_B],
    ['an exact name before one in another case', 'WEB', 'am_gggggggggggggggg'],
  ])('accepts %s', (_, given, id) => {
    expect(findDevice(found, given).deviceId).toBe(id);
  });

  it.each([
    [
      'twin',
      'ambiguous_name',
      '2 devices are called "twin": am_dddddddddddddddd, am_eeeeeeeeeeeeeeee. Use the ID: amesh list',
    ],
    ['web', 'ambiguous_name', '2 devices are called "web": am_ffffffffffffffff, am_gggggggggggggggg.'],
    ['many', 'ambiguous_name', 'am_0000000000000009, …. Use the ID'],
    ['nobody', 'unknown_name', 'No device is called "nobody". See: amesh list'],
    ['am_zzzzzzzzzzzzzzzz', 'unknown_name', ''],
    ['', 'unknown_name', ''],
    ['\x1b[31m', 'unknown_name', '"\\u001b[31m"'],
  ])('does not guess what %j is', (given, code, message) => {
    expect(() => findDevice(found, given)).toThrowError(withCode(code, message));
  });
});

describe('any sequence of changes', () => {
  it('keeps IDs and hosts unique, and never has a device and its tombstone', async () => {
    const ids = Array.from('abcd', (letter) => ({
      deviceId: `am_${letter.repeat(16)}`,
      publicKey: `Ag${letter.repeat(42)}`,
    }));
    const step = fc.record({
      peer: fc.constantFrom(...ids),
      friendlyName: fc.constantFrom('a', 'A', 'a-2', 'b'),
      role: fc.constantFrom('controller' as const, 'target' as const),
      hosts: fc.subarray(['x.example.com', 'y.example.com']),
      isRevoked: fc.boolean(),
      seconds: fc.nat(100_000),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        list = new List();
        let now = NOW;
        for (const { peer, isRevoked, seconds, ...rest } of steps) {
          now += seconds;
          try {
            if (isRevoked) await list.revoke(peer.deviceId, now);
            else await list.add({ ...peer, ...rest }, now);
          } catch (error) {
            expect(error).toMatchObject({ code: 'host_taken' });
          }
          const devices = await list.devices();
          const isUnique = (values: readonly string[]) => new Set(values).size === values.length;
          expect(isUnique(devices.flatMap(({ hosts }) => hosts))).toBe(true);
          expect(isUnique([...devices, ...list.tombstones].map(({ deviceId }) => deviceId))).toBe(true);
          expect(list.head.targets).toEqual(
            devices.flatMap(({ deviceId, hosts }) => hosts.map((host) => [host, deviceId])).sort(),
          );
        }
      }),
    );
  });
});

describe('renameDevice', () => {
  const rename = (name: string) => list.change((draft) => renameDevice(draft, ID_A, name));
  beforeEach(async () => {
    await list.add(device());
    await list.add(other());
  });

  it('changes only the name of a device, which it cleans', async () => {
    const [alice, bob] = await list.devices();
    await rename(' \x1b[31mcarol ');
    expect(await list.devices()).toEqual([{ ...alice, friendlyName: 'carol' }, bob]);
  });

  it('changes nothing if the device already has that name', async () => {
    expect(await rename('alice')).toBe(false);
  });

  it('accepts the name of another device', async () => {
    await rename('bob');
    expect((await list.devices()).map(({ friendlyName }) => friendlyName)).toEqual(['bob', 'bob']);
  });

  it('refuses a device that is not in the list', async () => {
    list = new List();
    await expect(rename('carol')).rejects.toThrow(withCode('unknown_name', ID_A));
  });
});
