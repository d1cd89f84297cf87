import { beforeEach, describe, expect, it } from 'vitest';
import { fromBase64Url } from '../../src/core/encoding';
import { revokeDevice } from '../../src/trust/changes';
import type { ListDraft } from '../../src/trust/format/draft';
import { proposeSuccessor, refuseSuccessor } from '../../src/trust/rotation/successor';
import { withdrawById, withdrawStatement } from '../../src/trust/rotation/withdraw';
import { newDevice } from '../support/list-document';
import { NOW, WrittenList } from '../support/written-list';

/** Next keys that the device had before, and what a list remembers of keys that were withdrawn. */
const DAY = 86_400;
type Listed = ReturnType<typeof newDevice>;

let written: WrittenList;
beforeEach(async () => {
  written = await WrittenList.create();
});

async function change<T>(apply: (draft: ListDraft) => Promise<T>, at = NOW): Promise<T> {
  let result: T | undefined;
  await written.change(async (draft) => {
    result = await apply(draft);
  }, at);
  return result as T;
}

const keyOf = ({ publicKey }: Listed) => fromBase64Url(publicKey) as Uint8Array;
const propose = (former: Listed, next: Listed, at = NOW, accept: 'auto' | 'admin' = 'auto') =>
  change(
    (draft) =>
      proposeSuccessor(
        draft,
        {
          formerId: former.deviceId,
          formerKey: keyOf(former),
          nextId: next.deviceId,
          nextKey: keyOf(next),
          targetId: draft.before.list,
          issuedAt: at,
          text: '',
        },
        { accept, isWorkingKey: () => false, nowSeconds: at },
      ),
    at,
  );
const withdraw = ({ deviceId }: Listed, next: Listed, at = NOW) =>
  change((draft) => withdrawById(draft, deviceId, next.deviceId, at), at);
const withdrawText = (former: Listed, next: Listed, at = NOW) =>
  change((draft) => withdrawStatement(draft, { formerId: former.deviceId, nextId: next.deviceId }, at), at);
const mayCall = ({ deviceId }: Listed) => written.list.find(deviceId)?.roles.includes('controller') === true;
const [first, second, third, other] = ['laptop', 'laptop', 'laptop', 'other'].map((name) =>
  newDevice(undefined, name),
) as [Listed, Listed, Listed, Listed];

describe('A thief who has a former key of a device, and can use its present key once', () => {
  it.each(['auto', 'admin'] as const)(
    'cannot make that former key the next one after it has left the list (%s)',
    async (accept) => {
      await change((draft) => draft.put(first));
      await propose(first, second);
      const later = NOW + 40 * DAY;
      await change((draft) => draft.put(other), later);
      expect(written.list.entry(first.deviceId)).toBeUndefined();
      expect(await propose(second, first, later, accept)).toBe('refused');
      expect(written.list.entry(first.deviceId)).toBeUndefined();
      expect([mayCall(first), mayCall(second)]).toEqual([false, true]);
    },
  );

  /** What an earlier version wrote: the key that has replaced the second one is the first one again. */
  async function replacedByFormer(isPending = false, more: readonly Listed[] = []) {
    const keys = [first, ...more];
    const retiresAt = NOW + 30 * DAY;
    await change(async (draft) => {
      const { deviceId: next } = first;
      const scopes = ['orders:read'];
      const was = [first.deviceId];
      if (isPending) {
        await draft.put({ ...second, scopes, was, next });
        await draft.put({ ...first, roles: [], was: [...was, second.deviceId], pending: true, addedAt: NOW });
        return;
      }
      await draft.put({ ...second, roles: [], was, next, retiresAt });
      for (const [i, key] of keys.entries()) {
        const had = [first.deviceId, second.deviceId, ...keys.slice(0, i).map(({ deviceId }) => deviceId)];
        const follows = keys[i + 1]?.deviceId;
        await draft.put({
          ...key,
          was: had,
          ...(follows === undefined ? { scopes } : { roles: [], next: follows, retiresAt }),
        });
      }
    });
  }

  it.each([
    ['its ID', withdraw, false],
    ['the statement', withdrawText, false],
    ['its ID, while it waits', withdraw, true],
    ['the statement, while it waits', withdrawText, true],
  ] as const)('loses it where it has become the next one, by %s', async (_how, by, isPending) => {
    await replacedByFormer(isPending);
    expect(await by(second, first, NOW + 3600)).toBe('withdrawn');
    expect([mayCall(first), mayCall(second)]).toEqual([false, true]);
    expect(written.list.isRevoked(first.deviceId)).toBe(true);
    expect(written.list.entry(second.deviceId)?.scopes).toEqual(['orders:read']);
    expect(await by(second, first, NOW + 3601)).toBe('withdrawn');
  });

  it.each([
    ['the former key', first],
    ['the last one', third],
  ])('loses all keys after it, if the owner names %s', async (_which, named) => {
    await replacedByFormer(false, [third]);
    expect(await withdraw(second, named, NOW + 3600)).toBe('withdrawn');
    expect([first, second, third].map(mayCall)).toEqual([false, true, false]);
  });

  it('does not lose the key that signs the withdrawal, although that comes twice', async () => {
    await replacedByFormer(false, [second]); // second, first, second: the last entry has replaced the first one
    expect(await withdraw(first, second, NOW + 3600)).toBe('withdrawn');
    expect([mayCall(first), mayCall(second)]).toEqual([true, false]);
  });

  it('loses it also where the links make a circle', async () => {
    const retiresAt = NOW + 30 * DAY;
    await change(async (draft) => {
      const [a, b] = [first.deviceId, second.deviceId];
      await draft.put({ ...first, roles: [], was: [a, b], next: b, retiresAt });
      await draft.put({ ...second, roles: [], was: [b, a], next: a, retiresAt });
    });
    for (const [by, named] of [
      [first, second],
      [second, first],
      [first, first],
    ] as const)
      expect(await withdraw(by, named, NOW + 3600)).toBe('refused');
    expect(written.list.entry(first.deviceId)).toBeDefined();
    expect(written.list.entry(second.deviceId)).toBeDefined();
  });
});

describe('A withdrawal by a statement', () => {
  it('does not say that an earlier key of the device, or a later one, is a device of its own', async () => {
    await change((draft) => draft.put(first));
    await propose(first, second);
    expect(await withdrawText(second, first, NOW + 60)).toBe('refused');
    const ended = NOW + 30 * DAY + 60; // the former key cannot take anything back any more
    expect(await withdrawText(first, second, ended)).toBe('refused');
    expect([mayCall(first), mayCall(second)]).toEqual([true, true]);
  });
});

describe('A withdrawal by an ID', () => {
  it('does not tell a device whether another device was revoked', async () => {
    await change(async (draft) => {
      await draft.put(first);
      await draft.put(other);
    });
    expect(await withdraw(first, other)).toBe('refused');
    await change((draft) => revokeDevice(draft, other.deviceId, NOW + 5), NOW + 5);
    expect(await withdraw(first, other, NOW + 10)).toBe('refused');
  });

  it('says "withdrawn" again for each key that it has taken back, as the first answer may be lost', async () => {
    await change((draft) => draft.put(first));
    await propose(first, second);
    await propose(second, third);
    expect(await withdraw(first, third, NOW + 10)).toBe('withdrawn');
    for (const named of [third, second, third])
      expect(await withdraw(first, named, NOW + 20)).toBe('withdrawn');
    await change((draft) => draft.put(other));
    expect(await withdraw(other, third, NOW + 20)).toBe('refused');
    expect(written.list.entry(first.deviceId)).toMatchObject({ roles: ['controller'] });
  });

  it('says "withdrawn" for a key that an administrator has refused', async () => {
    await change((draft) => draft.put(first));
    await propose(first, second, NOW, 'admin');
    await change((draft) => refuseSuccessor(draft, first.deviceId, NOW + 5), NOW + 5);
    expect(await withdraw(first, second, NOW + 10)).toBe('withdrawn');
  });

  it('leaves room for another next key, which can be withdrawn, too', async () => {
    await change((draft) => draft.put(first));
    await propose(first, second);
    await withdraw(first, second, NOW + 10);
    expect(await propose(first, third, NOW + 20)).toBe('accepted');
    expect([mayCall(first), mayCall(third)]).toEqual([true, true]);
    expect(await withdraw(first, third, NOW + 30)).toBe('withdrawn');
    expect([mayCall(first), mayCall(third)]).toEqual([true, false]);
  });
});
