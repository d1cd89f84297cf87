import { readListTrust, readTrustVariables, trustOf, VariableError } from '@authmesh/sdk/admin';
import { toBase64Url } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { createVerifierWithoutFiles } from '../../src/machine/worker';
import { vectors } from '../support/vectors';

const { target: owner, controller: next, stranger: other } = vectors.devices;
const DEVICE = 'am_AAAAAAAAAAAAAAAA';

describe('AMESH_OWNER_KEY, AMESH_DEVICE_ID and AMESH_MIN_REVISION', () => {
  it.each<[string, Record<string, string>, string]>([
    ['an empty second key', { AMESH_OWNER_KEY: `${owner.publicKey},` }, 'is not a public key'],
    ['an empty first key', { AMESH_OWNER_KEY: `,${owner.publicKey}` }, 'is not a public key'],
    ['an invalid second key', { AMESH_OWNER_KEY: `${owner.publicKey},abc` }, 'is not a public key'],
    [
      'the same key twice',
      { AMESH_OWNER_KEY: `${owner.publicKey},${owner.publicKey}` },
      'has the same key twice',
    ],
    [
      'three keys',
      { AMESH_OWNER_KEY: [owner, next, other].map(({ publicKey }) => publicKey).join(',') },
      'has more than two keys',
    ],
    [
      'a space instead of a comma',
      { AMESH_OWNER_KEY: `${owner.publicKey} ${next.publicKey}` },
      'is not a public key',
    ],
    ['a device without an owner', { AMESH_DEVICE_ID: DEVICE }, 'is set without AMESH_OWNER_KEY'],
    ['an invalid device', { AMESH_OWNER_KEY: owner.publicKey, AMESH_DEVICE_ID: 'api' }, 'must have the form'],
    ...['', '0', '-1', '1.5', '1e3', 'last', String(2 ** 48), '9'.repeat(16), ' 7'].map(
      (value): [string, Record<string, string>, string] => [
        `the revision ${JSON.stringify(value)}`,
        { AMESH_MIN_REVISION: value },
        'AMESH_MIN_REVISION',
      ],
    ),
  ])('%s is refused, and not shown', (_, env, reason) => {
    expect(() => readTrustVariables(env)).toThrow(VariableError);
    expect(() => readTrustVariables(env)).toThrow(reason);
    for (const value of Object.values(env).filter(({ length }) => length > 8))
      expect(() => readTrustVariables(env)).not.toThrow(value);
  });

  it('the list is that of the first key, unless AMESH_DEVICE_ID names another device', async () => {
    const AMESH_OWNER_KEY = `${owner.publicKey}, ${next.publicKey}`;
    expect(await readListTrust({})).toBeUndefined();
    const both = await readListTrust({ AMESH_OWNER_KEY });
    expect(both?.owners.map(toBase64Url)).toEqual([owner.publicKey, next.publicKey]);
    expect(both).toMatchObject({ list: owner.deviceId, minRevision: 0 });
    const moved = {
      AMESH_OWNER_KEY: next.publicKey,
      AMESH_DEVICE_ID: owner.deviceId,
      AMESH_MIN_REVISION: '7',
    };
    expect(await readListTrust(moved)).toMatchObject({ list: owner.deviceId, minRevision: 7 });
  });

  it('a device seals the list of AMESH_OWNER_KEY if it has one of the keys, and otherwise its own', async () => {
    const env = { AMESH_OWNER_KEY: `${owner.publicKey},${next.publicKey}`, AMESH_MIN_REVISION: '7' };
    for (const each of [owner, next])
      expect(await trustOf(each, env)).toMatchObject({ list: owner.deviceId, minRevision: 7 });
    expect(await trustOf(other, env)).toMatchObject({ list: other.deviceId, minRevision: 0 });
    expect(await trustOf(other, { AMESH_MIN_REVISION: '7' })).toMatchObject({ minRevision: 7 });
  });
});

describe('minRevision and ownerKey as options', () => {
  const env = { AMESH_ALLOW_LIST: '{}', AMESH_OWNER_KEY: owner.publicKey };
  it.each([0, -1, 1.5, Number.NaN, '7', 2 ** 48, null])('minRevision: %j is a TypeError', (minRevision) => {
    expect(() => createVerifierWithoutFiles({ minRevision: minRevision as number }, env)).toThrow(TypeError);
    expect(() => createVerifierWithoutFiles({ minRevision: minRevision as number }, env)).toThrow(
      'minRevision',
    );
  });

  it('a right one is accepted, and so are two keys', () => {
    const ownerKey = `${owner.publicKey},${next.publicKey}`;
    expect(createVerifierWithoutFiles({ minRevision: 7, ownerKey }, env)).toHaveProperty('verify');
  });
});
