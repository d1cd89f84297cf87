import { beforeEach, describe, expect, it } from 'vitest';
import { cryptoProvider } from '#crypto';
import { deviceIdOf, isOwnId } from '../../src/core/devices/allow-list';
import { toBase64Url } from '../../src/core/encoding';
import { addDevice } from '../../src/trust/changes';
import { ListDraft } from '../../src/trust/format/draft';
import { type ListHead, openHead, sealHead } from '../../src/trust/format/head';
import { moveOwner } from '../../src/trust/moves/move-owner';
import { device, NOW, WrittenList } from '../support/written-list';

const SUCCESSION = `AAAA.${'B'.repeat(86)}.${'C'.repeat(86)}`;

/** A list that one owner after the other takes over. */
class MovedList {
  /** The owners so far, without the present one. */
  readonly former: string[] = [];

  private constructor(public head: ListHead) {}

  static async create(): Promise<MovedList> {
    return new MovedList((await WrittenList.create()).head);
  }

  /** The next owner seals the list. */
  async move(succession?: string): Promise<void> {
    const next = await cryptoProvider.importPrivateKey(await cryptoProvider.generatePrivateKey());
    const { list, ownerId = list } = this.head;
    this.former.push(ownerId);
    const draft = this.draft();
    moveOwner(draft, this.head, succession);
    const { head } = await draft.finish();
    const sealed = await sealHead({ ...head, owner: toBase64Url(next.publicKey) }, next);
    this.head = (await openHead(sealed, [next.publicKey], list)).head;
    expect(this.head.ownerId).toBe(await deviceIdOf(next.publicKey, cryptoProvider));
  }

  draft(): ListDraft {
    return new ListDraft(this.head, () => Promise.reject(new Error('It has no pages.')), NOW);
  }
}

describe('a list that moves from owner to owner', () => {
  let list: MovedList;
  beforeEach(async () => {
    list = await MovedList.create();
  });

  it('has no former owner before', () => {
    expect(list.head.was).toBeUndefined();
  });

  it('keeps the IDs of its former owners next to its own, the latest last', async () => {
    await list.move();
    expect(list.head.was).toBeUndefined(); // the first one is the ID of the list
    await list.move();
    await list.move();
    expect(list.former[0]).toBe(list.head.list);
    expect(list.head.was).toEqual(list.former.slice(1));
  });

  it('keeps 16 of them, and its own', async () => {
    for (let i = 0; i < 20; i++) await list.move();
    expect(list.head.was).toEqual(list.former.slice(-16));
    expect(list.head.list).toBe(list.former[0]);
  });

  it('has the statement about its last move, or none if that move was made without one', async () => {
    await list.move(SUCCESSION);
    expect(list.head.succession).toBe(SUCCESSION);
    await list.move();
    expect(list.head.succession).toBeUndefined();
  });

  it('accepts none of its owners as a device', async () => {
    await list.move();
    await list.move();
    const add = (deviceId: string) =>
      addDevice(list.draft(), { ...device(deviceId), role: 'controller' }, NOW);
    for (const id of list.former) await expect(add(id)).rejects.toMatchObject({ code: 'own_key' });
  });
});

describe('isOwnId', () => {
  const nobody = { hosts: [], find: () => undefined, targetOf: () => undefined };

  it('knows the list, its owner, and former owners', () => {
    const list = { ...nobody, deviceId: 'am_a', ownerId: 'am_d', formerOwnerIds: ['am_b', 'am_c'] };
    expect(['am_a', 'am_b', 'am_c', 'am_d', 'am_e'].filter((id) => isOwnId(list, id))).toHaveLength(4);
    expect(isOwnId({ ...nobody, deviceId: null }, 'am_a')).toBe(false);
  });
});
