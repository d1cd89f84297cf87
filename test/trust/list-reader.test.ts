import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { cryptoProvider } from '#crypto';
import type { Signer } from '../../src/core/crypto/provider';
import { deviceIdOf } from '../../src/core/devices/allow-list';
import { toBase64Url } from '../../src/core/encoding';
import { endDelegation } from '../../src/trust/delegations';
import { ListDraft } from '../../src/trust/format/draft';
import { type ListHead, sealHead } from '../../src/trust/format/head';
import { ListReader } from '../../src/trust/list/list-reader';
import { SeenInMemory } from '../../src/trust/list/seen-in-memory';
import { emptyHead, newDevice, randomId } from '../support/list-document';

const NOBODY = { fix: '' };
const LAG_SECONDS = 60;

let owner: Signer;
let next: Signer;
let list: string;
beforeAll(async () => {
  const newSigner = async () => cryptoProvider.importPrivateKey(await cryptoProvider.generatePrivateKey());
  [owner, next] = [await newSigner(), await newSigner()];
  list = await deviceIdOf(owner.publicKey, cryptoProvider);
});

/** A store that shows a new head before its pages. */
class Place {
  head: ListHead = emptyHead({ list, owner: toBase64Url(owner.publicKey) });
  bytes: Uint8Array | null = null;
  readonly written = new Map<string, Uint8Array>();
  readonly shown = new Map<string, Uint8Array>();
  readonly reader: ListReader;
  /** A read of pages waits for it. */
  gate: Promise<void> | undefined;
  /** How many times pages were read. */
  asked = 0;

  constructor(owners: readonly Uint8Array[] = [owner.publicKey], seen = new SeenInMemory(owners)) {
    this.reader = new ListReader(
      {
        read: async () => this.bytes,
        readPages: async (names) => {
          const found = names.map((name) => this.shown.get(name) ?? null);
          this.asked++;
          await this.gate;
          return found;
        },
        isEventual: true,
        lagSeconds: LAG_SECONDS,
      },
      { owners, list },
      seen,
      { absent: { detail: '', ...NOBODY }, older: NOBODY, other: NOBODY },
    );
  }

  async change(change: (draft: ListDraft) => unknown, signer = owner): Promise<void> {
    const draft = new ListDraft(this.head, async (hash) => this.written.get(hash) as Uint8Array, 0);
    await change(draft);
    const { head, write } = await draft.finish();
    this.head = { ...head, owner: toBase64Url(signer.publicKey) };
    this.bytes = await sealHead(this.head, signer);
    for (const [hash, bytes] of write) this.written.set(hash, bytes);
  }

  showPages(): void {
    for (const [hash, bytes] of this.written) this.shown.set(hash, bytes);
  }
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a list whose pages come later than its head', () => {
  const ids = Array.from({ length: 200 }, randomId);
  const [revoked = '', kept = ''] = ids;
  const added = randomId();
  let place: Place;
  const has = async (id: string) => (await place.reader.read()).find(id)?.deviceId === id;
  const add = (...some: readonly string[]) =>
    place.change(async (draft) => {
      for (const id of some) await draft.put(newDevice(id));
    });

  beforeEach(async () => {
    place = new Place();
    await add(...ids);
    place.showPages();
    expect(await has(revoked)).toBe(true);
    await add(added);
    await place.change((draft) => draft.bury({ deviceId: revoked, revokedAt: 0, until: 2 ** 40 }));
  });

  it('stays as it was, except for the devices that were revoked since then', async () => {
    expect([await has(kept), await has(added), await has(revoked)]).toEqual([true, false, false]);
    place.showPages();
    expect([await has(kept), await has(added), await has(revoked)]).toEqual([true, true, false]);
  });

  it('stays as it was, except for the delegations that were revoked since then', async () => {
    const id = 'A'.repeat(22);
    const isEnded = async () => (await place.reader.read()).endedDelegations.has(id);
    expect(await isEnded()).toBe(false);
    await place.change((draft) => endDelegation(draft, id, 0));
    expect([await has(kept), await has(added), await has(revoked), await isEnded()]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    place.showPages();
    expect([await has(added), await isEnded()]).toEqual([true, true]);
  });

  it('does so for a limited time after the first such head, however often the list changes', async () => {
    expect(await has(kept)).toBe(true);
    for (let seconds = 0; seconds < LAG_SECONDS; seconds += 20) {
      vi.advanceTimersByTime(20_000);
      await add(randomId());
      expect(await has(kept)).toBe(true);
    }
    vi.advanceTimersByTime(1000);
    await expect(has(kept)).rejects.toMatchObject({ code: 'allow_list_unavailable' });
    await add(randomId());
    await expect(has(kept)).rejects.toMatchObject({ code: 'allow_list_unavailable' });
    place.showPages();
    expect([await has(kept), await has(added)]).toEqual([true, true]);
    await add(randomId());
    expect(await has(kept)).toBe(true); // the time starts again
  });
});

describe('a read that takes longer than the next one', () => {
  it('does not restore the older list whose pages it completes', async () => {
    const [kept, added] = [randomId(), randomId()];
    const place = new Place();
    await place.change(async (draft) => {
      for (const id of [kept, ...Array.from({ length: 200 }, randomId)]) await draft.put(newDevice(id));
    });
    expect((await place.reader.read()).isWhole).toBe(false);
    place.showPages();
    let open = () => {};
    place.gate = new Promise((resolve) => {
      open = resolve;
    });
    const slow = place.reader.read();
    await vi.waitFor(() => expect(place.asked).toBeGreaterThan(1));
    place.gate = undefined;
    await place.change((draft) => draft.put(newDevice(added)));
    place.showPages();
    const quick = await place.reader.read();
    expect(quick.find(added)?.deviceId).toBe(added);
    open();
    expect(await slow).toBe(quick);
    expect(await place.reader.read()).toBe(quick);
  });
});

describe('two owners', () => {
  const [old, both] = [randomId(), randomId()];

  it('a list of the next one makes all lists of the former one older, however high their revisions', async () => {
    const place = new Place([owner.publicKey, next.publicKey]);
    await place.change((draft) => draft.put(newDevice(old)));
    for (let i = 0; i < 3; i++) await place.change((draft) => draft.change({ hosts: [`${i}.example`] }));
    const [former, formerHead] = [place.bytes, place.head];
    expect((await place.reader.read()).head.revision).toBe(4);

    place.head = { ...emptyHead({ list }), revision: 1 };
    await place.change((draft) => draft.put(newDevice(both)), next);
    expect((await place.reader.read()).find(both)?.deviceId).toBe(both);
    place.bytes = former;
    await expect(place.reader.read()).rejects.toMatchObject({ code: 'allow_list_unavailable' });
    for (const owners of [[owner.publicKey], [next.publicKey, owner.publicKey]]) {
      // What was seen counts, also where somebody sets the keys otherwise.
      const seen = new SeenInMemory(owners);
      await seen.remember(list, {
        revision: 2,
        owner: toBase64Url(next.publicKey),
        mark: '',
        former: [toBase64Url(owner.publicKey)],
      });
      const again = new Place(owners, seen);
      again.bytes = former;
      await expect(again.reader.read()).rejects.toMatchObject({ code: 'allow_list_unavailable' });
    }
    place.head = { ...formerHead, revision: 1_000_000 };
    await place.change((draft) => draft.change({ hosts: [] }));
    await expect(place.reader.read()).rejects.toMatchObject({ code: 'allow_list_unavailable' });
  });
});
