import { addDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { fromBase64Url } from '../../src/core/encoding';
import { addGrant, enrolCaller, revokeGrant } from '../../src/trust/grants';
import { proposeSuccessor } from '../../src/trust/rotation/successor';
import { newDevice } from '../support/list-document';
import { NOW, WrittenList } from '../support/written-list';

const ID = 'G'.repeat(22);

/** A device that enrolled with a grant, is a target, too, and has replaced its key as often as the keys say. */
async function enrolled(keys: ReturnType<typeof newDevice>[], isTarget: boolean): Promise<WrittenList> {
  const written = await WrittenList.create();
  const [first] = keys as [(typeof keys)[number]];
  await written.change(async (draft) => {
    const ends = { uses: 1, used: 0, leaseSeconds: 7200, maxLeaseSeconds: 90_000 };
    const times = { issuedAt: NOW - 1, expiresAt: NOW + 600 };
    addGrant(draft, { id: ID, publicKey: `Ag${'A'.repeat(42)}`, names: '*', ...ends, ...times }, NOW);
    if (isTarget) await addDevice(draft, { ...first, role: 'target', hosts: ['orders:3000'] }, NOW);
    await enrolCaller(draft, ID, first, NOW);
    const keyOf = (i: number) => fromBase64Url(keys[i]?.publicKey ?? '') as Uint8Array;
    for (const [i, { deviceId: nextId }] of keys.entries()) {
      const former = keys[i - 1];
      if (former === undefined) continue;
      const both = { formerId: former.deviceId, formerKey: keyOf(i - 1), nextId, nextKey: keyOf(i) };
      const rotation = { ...both, targetId: draft.before.list, issuedAt: NOW, text: '' };
      const policy = { accept: 'auto', isWorkingKey: () => false, nowSeconds: NOW } as const;
      expect(await proposeSuccessor(draft, rotation, policy)).toBe('accepted');
    }
  });
  return written;
}

describe('A grant that is revoked', () => {
  it.each([1, 2, 3])(
    'ends the calls of a device, and leaves it a target, with its %i keys',
    async (count) => {
      const keys = Array.from({ length: count }, () => newDevice(undefined, 'laptop'));
      const written = await enrolled(keys, true);
      await written.change(async (draft) => {
        expect((await revokeGrant(draft, ID, NOW)).map(({ deviceId }) => deviceId)).toEqual([
          keys.at(-1)?.deviceId,
        ]);
      });
      const [first, ...others] = keys.map(({ deviceId }) => deviceId) as [string, ...string[]];
      expect(written.list.find(first)).toMatchObject({ roles: ['target'], keysSince: NOW });
      expect(written.list.targetOf('orders:3000')).toMatchObject({ deviceId: first });
      for (const id of others) expect(written.list.isRevoked(id)).toBe(true);
    },
  );

  it.each([1, 3])('revokes a device that only calls, with its %i keys', async (count) => {
    const keys = Array.from({ length: count }, () => newDevice(undefined, 'laptop'));
    const written = await enrolled(keys, false);
    await written.change(async (draft) => void (await revokeGrant(draft, ID, NOW)));
    for (const { deviceId } of keys) expect(written.list.isRevoked(deviceId)).toBe(true);
  });
});
