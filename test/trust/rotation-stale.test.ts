import { addDevice, findDevice, revokeDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { fromBase64Url } from '../../src/core/encoding';
import type { ListDraft } from '../../src/trust/format/draft';
import { MAX_FORMER_IDS } from '../../src/trust/format/entry';
import { chainOf, currentOf } from '../../src/trust/rotation/chain';
import { type AcceptRotation, acceptSuccessor, proposeSuccessor } from '../../src/trust/rotation/successor';
import { newDevice } from '../support/list-document';
import { NOW, WrittenList } from '../support/written-list';

const DAY = 86_400;
type Peer = ReturnType<typeof newDevice>;

async function listOf(...devices: Peer[]): Promise<WrittenList> {
  const written = await WrittenList.create();
  await written.change(async (draft) => {
    for (const device of devices) await draft.put({ ...device, scopes: ['orders:read'] });
  });
  return written;
}

function propose(
  draft: ListDraft,
  former: Peer,
  next: Peer,
  nowSeconds = NOW,
  accept: AcceptRotation = 'auto',
) {
  const keyOf = ({ publicKey }: Peer) => fromBase64Url(publicKey) as Uint8Array;
  const rotation = {
    formerId: former.deviceId,
    formerKey: keyOf(former),
    nextId: next.deviceId,
    nextKey: keyOf(next),
    targetId: draft.before.list,
    issuedAt: nowSeconds,
    text: '',
  };
  return proposeSuccessor(draft, rotation, { accept, isWorkingKey: () => false, nowSeconds });
}

const peer = () => newDevice(undefined, 'laptop');

describe('A former key whose next key has left the list before it', () => {
  /** The entry of A is past, but still there; that of B is gone; C is the device. */
  async function withGap() {
    const [a, b, c] = [peer(), peer(), peer()] as const;
    const written = await listOf(a);
    await written.change(async (draft) => void (await propose(draft, a, b)));
    await written.change(async (draft) => void (await propose(draft, b, c)));
    // Pages lose what is past when they are written, each at its own time.
    const lines = [...written.list.lines()].filter(({ deviceId }) => deviceId !== b.deviceId);
    const other = await WrittenList.create();
    await other.change((draft) => draft.take(lines));
    return { written: other, a, b, c };
  }

  it('is still an ID of the device', async () => {
    const { written, a, b, c } = await withGap();
    await written.change(async (draft) => {
      for (const id of [a, b, c].map(({ deviceId }) => deviceId))
        expect(await chainOf(draft, id)).toEqual(
          expect.arrayContaining([a, b, c].map((each) => each.deviceId)),
        );
      expect(await currentOf(draft, a.deviceId)).toBe(c.deviceId);
    });
    for (const { deviceId } of [a, b, c])
      expect(findDevice(written.list, deviceId).deviceId).toBe(c.deviceId);
  });

  it.each([0, 1, 2])('revokes the device, like each of its IDs (%i)', async (which) => {
    const { written, a, b, c } = await withGap();
    const { deviceId } = [a, b, c][which] as Peer;
    await written.change((draft) => revokeDevice(draft, deviceId, NOW));
    for (const each of [a, b, c]) {
      expect(written.list.find(each.deviceId)).toBeUndefined();
      expect(written.list.isRevoked(each.deviceId)).toBe(true);
    }
  });
});

describe('a key that never became the next one', () => {
  it('may become a separate device, with no tie to its former device', async () => {
    const [a, b, c] = [peer(), peer(), peer()];
    const written = await listOf(a as Peer);
    const [former, vain, next] = [a, b, c] as [Peer, Peer, Peer];
    await written.change(async (draft) => void (await propose(draft, former, vain, NOW, 'admin')));
    const later = NOW + 40 * DAY;
    await written.change((draft) => draft.put(newDevice()), later);
    expect(written.list.entry(vain.deviceId)).toBeUndefined();
    await written.change(
      (draft) => addDevice(draft, { ...vain, role: 'controller', hosts: [], scopes: [] }, later),
      later,
    );
    await written.change(async (draft) => {
      expect(await propose(draft, former, next, later, 'admin')).toBe('waiting');
    }, later);
    expect(written.list.find(vain.deviceId)).toMatchObject({ roles: ['controller'] });
    await written.change(async (draft) => void (await acceptSuccessor(draft, former.deviceId, later)), later);
    await written.change((draft) => revokeDevice(draft, former.deviceId, later), later);
    expect(written.list.find(vain.deviceId)).toMatchObject({ roles: ['controller'] });
    expect(written.list.find(next.deviceId)).toBeUndefined();
  });
});

describe('a next key that has waited for longer than its statement counts', () => {
  it.each([
    ['has left the list', true],
    ['is still in the list, since nothing has changed there', false],
  ])('does not stand against a later one: %s', async (_, isChanged) => {
    const [former, vain, next] = [peer(), peer(), peer()];
    const written = await listOf(former);
    await written.change(async (draft) => void (await propose(draft, former, vain, NOW, 'admin')));
    const later = NOW + 40 * DAY;
    if (isChanged) await written.change((draft) => draft.put(newDevice()), later);
    expect(written.list.entry(vain.deviceId) === undefined).toBe(isChanged);
    await written.change(async (draft) => {
      expect(await propose(draft, former, next, later, 'admin')).toBe('waiting');
    }, later);
    expect(written.list.find(former.deviceId)).toMatchObject({ roles: ['controller'] });
    expect(written.list.entry(vain.deviceId)).toBeUndefined();
  });
});

describe('A year of rotations', () => {
  it.each([16, 20])('changes neither name nor scopes, end or lease (%i)', async (count) => {
    const keys = Array.from({ length: count + 1 }, peer);
    const lease = { grant: 'G'.repeat(22), expiresAt: NOW + 900 * DAY, endsAt: NOW + 900 * DAY };
    const written = await WrittenList.create();
    const rights = { scopes: ['a', 'b:*'], expiresAt: NOW + 800 * DAY, lease, keysSince: NOW - DAY };
    await written.change((draft) => draft.put({ ...(keys[0] as Peer), ...rights }));
    for (const [i, next] of keys.slice(1).entries())
      await written.change(
        async (draft) => void (await propose(draft, keys[i] as Peer, next, NOW + i * 18 * DAY)),
        NOW + i * 18 * DAY,
      );
    const last = keys.at(-1) as Peer;
    const ids = keys.map(({ deviceId }) => deviceId);
    const was = count <= MAX_FORMER_IDS ? ids.slice(0, -1) : [ids[0], ...ids.slice(-MAX_FORMER_IDS, -1)];
    expect(written.list.entry(last.deviceId)).toEqual({
      ...last,
      ...rights,
      addedAt: 0,
      was,
    });
    expect(was).toHaveLength(Math.min(count, MAX_FORMER_IDS));
    expect(written.list.find(last.deviceId)?.formerIds).toEqual(was);
    for (const id of was) expect(findDevice(written.list, id as string).deviceId).toBe(last.deviceId);
    for (const id of was) {
      const copy = await WrittenList.create();
      await copy.change((draft) => draft.take(written.list.lines()));
      await copy.change((draft) => revokeDevice(draft, id as string, NOW), NOW);
      for (const each of [...was, last.deviceId]) expect(copy.list.find(each as string)).toBeUndefined();
    }
  });

  it('in one hour lets each of 20 former keys call, with the rights of the last one', async () => {
    const keys = Array.from({ length: 21 }, peer);
    const written = await listOf(keys[0] as Peer);
    for (const [i, next] of keys.slice(1).entries())
      await written.change(async (draft) => void (await propose(draft, keys[i] as Peer, next)));
    for (const { deviceId } of keys) {
      expect(written.list.find(deviceId)).toMatchObject({ roles: ['controller'], scopes: ['orders:read'] });
      expect(findDevice(written.list, deviceId).deviceId).toBe(keys.at(-1)?.deviceId);
    }
    await written.change((draft) => revokeDevice(draft, (keys[3] as Peer).deviceId, NOW));
    for (const { deviceId } of keys) expect(written.list.find(deviceId)).toBeUndefined();
  });
});
