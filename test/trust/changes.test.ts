import {
  type AllowListDocument,
  addDevice,
  findDevice,
  type NewDevice,
  renameDevice,
  revokeDevice,
  setHosts,
} from '@authmesh/sdk/admin';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const NOW = 1_764_000_000;
const KEY_A = `A${'a'.repeat(43)}`;
const KEY_B = `A${'b'.repeat(43)}`;
const ID_A = `am_${'a'.repeat(16)}`;
const ID_B = `am_${'b'.repeat(16)}`;

const empty: AllowListDocument = Object.freeze({
  version: 1,
  owner: `A${'o'.repeat(43)}`,
  list: `am_${'o'.repeat(16)}`,
  revision: 1,
  updatedAt: NOW,
  hosts: [],
  devices: [],
  tokens: [],
  grants: [],
  tombstones: [],
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
  it('adds a device with its role, hosts, a clean name and the time', () => {
    const { devices } = addDevice(
      empty,
      device({ role: 'target', hosts: ['api.example.com'], friendlyName: '\x1b[31malice' }),
      NOW,
    );
    expect(devices).toEqual([
      {
        deviceId: ID_A,
        publicKey: KEY_A,
        friendlyName: 'alice',
        roles: ['target'],
        hosts: ['api.example.com'],
        addedAt: NOW,
      },
    ]);
  });

  it('leaves the document that it was given as it was', () => {
    const before = structuredClone(empty);
    addDevice(empty, device(), NOW);
    expect(empty).toEqual(before);
  });

  it('adds a role to a device that is there, as to a set', () => {
    const controller = addDevice(empty, device(), NOW);
    const both = addDevice(controller, device({ role: 'target', hosts: ['a.example.com'] }), NOW + 9);
    expect(both.devices).toMatchObject([
      { roles: ['controller', 'target'], hosts: ['a.example.com'], addedAt: NOW },
    ]);
    expect(addDevice(both, device(), NOW + 9)).toBe(both);
    expect(addDevice(both, device({ role: 'target', hosts: ['a.example.com'] }), NOW + 9)).toBe(both);
  });

  it('keeps the name that a device has here', () => {
    const list = addDevice(
      addDevice(empty, device(), NOW),
      device({ role: 'target', friendlyName: 'new' }),
      NOW,
    );
    expect(list.devices[0]?.friendlyName).toBe('alice');
  });

  it('gives a second device of the same name a number', () => {
    const list = addDevice(addDevice(empty, device(), NOW), other({ friendlyName: 'Alice' }), NOW);
    expect(list.devices.map(({ friendlyName }) => friendlyName)).toEqual(['alice', 'Alice-2']);
  });

  it('refuses a known id with another key', () => {
    const list = addDevice(empty, device(), NOW);
    expect(() => addDevice(list, device({ publicKey: KEY_B }), NOW)).toThrowError(
      withCode('key_mismatch', 'The allow list has a device with this ID and another key.'),
    );
    expect(() => addDevice(list, device({ publicKey: KEY_B }), NOW)).toThrowError(
      `If the new key is right, first run: amesh revoke ${device().deviceId}`,
    );
  });

  it('names the device to revoke where a host is taken: by its id where its name is no plain word', () => {
    for (const friendlyName of ['prod-api', 'prod api', "x'; rm -rf ~", '-x']) {
      const list = addDevice(empty, device({ friendlyName, role: 'target', hosts: ['a.example'] }), NOW);
      const name = friendlyName === 'prod-api' ? friendlyName : device().deviceId;
      expect(() => addDevice(list, other({ role: 'target', hosts: ['a.example'] }), NOW)).toThrowError(
        `Use another host, or first run: amesh revoke ${name}`,
      );
    }
  });

  it('refuses its own key', () => {
    expect(() => addDevice(empty, device({ publicKey: empty.owner }), NOW)).toThrowError(withCode('own_key'));
    expect(() => addDevice(empty, device({ deviceId: empty.list }), NOW)).toThrowError(
      withCode('own_key', "This is this machine's own key."),
    );
  });

  it('refuses a host that belongs to another target', () => {
    const list = addDevice(empty, device({ role: 'target', hosts: ['a.example.com', 'b.example.com'] }), NOW);
    expect(() =>
      addDevice(list, other({ role: 'target', hosts: ['c.example.com', 'b.example.com'] }), NOW),
    ).toThrowError(withCode('host_taken', 'b.example.com already belongs to "alice".'));
  });
});

describe('revokeDevice', () => {
  it('takes the device out, whatever its roles, and remembers its key for more than a day', () => {
    const list = addDevice(addDevice(empty, device(), NOW), device({ role: 'target' }), NOW);
    const revoked = revokeDevice(list, ID_A, NOW);
    expect(revoked.devices).toEqual([]);
    expect(revoked.tombstones).toEqual([{ deviceId: ID_A, revokedAt: NOW, until: NOW + 25 * 3600 }]);
  });

  it('changes nothing for a device that is not there', () => {
    expect(revokeDevice(empty, ID_A, NOW)).toBe(empty);
  });

  it('forgets tombstones that are over, and only those', () => {
    let list = addDevice(addDevice(empty, device(), NOW), other(), NOW);
    list = revokeDevice(list, ID_A, NOW);
    expect(revokeDevice(list, ID_B, NOW + 25 * 3600 - 1).tombstones).toHaveLength(2);
    expect(revokeDevice(list, ID_B, NOW + 25 * 3600).tombstones).toMatchObject([{ deviceId: ID_B }]);
  });

  it('lets a person add the device again, with nothing of what it was', () => {
    const list = addDevice(empty, device({ role: 'target', hosts: ['a.example.com'] }), NOW);
    const again = addDevice(revokeDevice(list, ID_A, NOW), device(), NOW + 5);
    expect(again.devices).toMatchObject([{ roles: ['controller'], hosts: [], addedAt: NOW + 5 }]);
    expect(again.tombstones).toEqual([]);
  });
});

describe('setHosts', () => {
  it('replaces the hosts, each once', () => {
    const list = setHosts(empty, ['a.example.com', 'b.example.com', 'a.example.com']);
    expect(list.hosts).toEqual(['a.example.com', 'b.example.com']);
    expect(setHosts(list, ['b.example.com', 'a.example.com'])).toBe(list);
    expect(setHosts(list, ['a.example.com', 'a.example.com']).hosts).toEqual(['a.example.com']);
    expect(setHosts(list, []).hosts).toEqual([]);
  });
});

describe('findDevice', () => {
  const list = {
    ...empty,
    devices: [
      ...addDevice(addDevice(empty, device(), NOW), other({ friendlyName: 'Alice' }), NOW).devices,
      // As an import could bring it, with an id for a name.
      { deviceId: 'am_c', publicKey: '', friendlyName: ID_A, roles: [], hosts: [], addedAt: 0 },
      { deviceId: 'am_d', publicKey: '', friendlyName: 'twin', roles: [], hosts: [], addedAt: 0 },
      { deviceId: 'am_e', publicKey: '', friendlyName: 'twin', roles: [], hosts: [], addedAt: 0 },
      { deviceId: 'am_f', publicKey: '', friendlyName: 'Web', roles: [], hosts: [], addedAt: 0 },
      { deviceId: 'am_g', publicKey: '', friendlyName: 'WEB', roles: [], hosts: [], addedAt: 0 },
    ],
  };

  it.each([
    ['an id before a name that looks like it', ID_A, ID_A],
    ['a name', 'alice', ID_A],
    ['a name in another case', 'ALICE-2', ID_B],
    ['an exact name before one in another case', 'WEB', 'am_g'],
  ])('takes %s', (_, given, id) => {
    expect(findDevice(list, given).deviceId).toBe(id);
  });

  it.each([
    ['twin', 'ambiguous_name', '2 devices are called "twin". Use the ID: amesh list'],
    ['web', 'ambiguous_name', '2 devices are called "web".'],
    ['nobody', 'unknown_name', 'No device is called "nobody". See: amesh list'],
    ['am_zzzzzzzzzzzzzzzz', 'unknown_name', ''],
    ['', 'unknown_name', ''],
    ['\x1b[31m', 'unknown_name', '"\\u001b[31m"'],
  ])('does not guess what %j is', (given, code, message) => {
    expect(() => findDevice(list, given)).toThrowError(withCode(code, message));
  });
});

describe('any sequence of changes', () => {
  it('keeps ids, names and hosts unique, and no device beside its own tombstone', () => {
    const ids = Array.from('abcd', (letter) => ({
      deviceId: `am_${letter.repeat(16)}`,
      publicKey: `A${letter.repeat(43)}`,
    }));
    const step = fc.record({
      peer: fc.constantFrom(...ids),
      friendlyName: fc.constantFrom('a', 'A', 'a-2', 'b'),
      role: fc.constantFrom('controller' as const, 'target' as const),
      hosts: fc.subarray(['x.example.com', 'y.example.com']),
      isRevoked: fc.boolean(),
      seconds: fc.nat(100_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let list = empty;
        let now = NOW;
        for (const { peer, isRevoked, seconds, ...rest } of steps) {
          now += seconds;
          try {
            list = isRevoked
              ? revokeDevice(list, peer.deviceId, now)
              : addDevice(list, { ...peer, ...rest }, now);
          } catch (error) {
            expect(error).toMatchObject({ code: 'host_taken' });
          }
          const { devices, tombstones } = list;
          const isUnique = (values: readonly string[]) => new Set(values).size === values.length;
          expect(isUnique(devices.map(({ deviceId }) => deviceId))).toBe(true);
          expect(isUnique(devices.map(({ friendlyName }) => friendlyName.toLowerCase()))).toBe(true);
          expect(isUnique(devices.flatMap(({ hosts }) => hosts))).toBe(true);
          expect(isUnique([...devices, ...tombstones].map(({ deviceId }) => deviceId))).toBe(true);
        }
      }),
    );
  });
});

describe('renameDevice', () => {
  const both = addDevice(addDevice(empty, device(), NOW), other(), NOW);

  it('gives a device another name, which is cleaned, and changes nothing else', () => {
    const renamed = renameDevice(both, ID_A, ' \x1b[31mcarol ');
    expect(renamed.devices).toEqual([{ ...both.devices[0], friendlyName: 'carol' }, both.devices[1]]);
  });

  it('changes nothing where the device has that name', () => {
    expect(renameDevice(both, ID_A, 'alice')).toBe(both);
  });

  it('lets a device change the case of its own name', () => {
    expect(renameDevice(both, ID_A, 'Alice').devices[0]?.friendlyName).toBe('Alice');
  });

  it('refuses a name that another device has, in upper or lower case, and names that device', () => {
    expect(() => renameDevice(both, ID_A, 'BOB')).toThrow(
      withCode('name_taken', `${ID_B} is already called "bob"`),
    );
  });

  it('refuses a device that is not in the list', () => {
    expect(() => renameDevice(empty, ID_A, 'carol')).toThrow(withCode('unknown_name', ID_A));
  });
});
