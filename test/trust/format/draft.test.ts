import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toBase64Url } from '../../../src/core/encoding';
import { KEEP_PAGES_SECONDS, ListDraft } from '../../../src/trust/format/draft';
import { MAX_PAGES } from '../../../src/trust/format/head';
import { device, NOW, WrittenList } from '../../support/written-list';

/** Random IDs, and IDs that somebody searched for because they agree in many bits. */
const anyId = fc.oneof(
  fc
    .integer({ max: 1e9 })
    .map((n) => `am_${createHash('sha256').update(`${n}`).digest('base64url').slice(0, 16)}`),
  fc
    .integer({ min: 0, max: 4095 })
    .map((n) => `am_AAAAAAAAAAAAAA${toBase64Url(Uint8Array.of(n >> 4, n << 4)).slice(0, 2)}`),
);

const manyIds = (count: number) =>
  Array.from({ length: count }, () => `am_${randomBytes(12).toString('base64url')}`);

describe('a list that is changed', () => {
  it('has the same devices as a plain set after any changes', async () => {
    const step = fc.record({ ids: fc.array(anyId, { minLength: 1, maxLength: 400 }), isAdded: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        const written = await WrittenList.create();
        const model = new Set<string>();
        for (const { ids, isAdded } of steps) {
          await written.change(async (draft) => {
            for (const deviceId of ids) {
              if (isAdded) await draft.put(device(deviceId));
              else await draft.bury({ deviceId, revokedAt: NOW, until: NOW + 9 });
            }
          });
          for (const id of ids) isAdded ? model.add(id) : model.delete(id);
          expect(written.ids).toEqual([...model].sort());
          for (const id of ids) {
            expect(written.list.find(id)?.deviceId).toBe(isAdded ? id : undefined);
            expect(written.list.isRevoked(id)).toBe(!isAdded);
          }
        }
      }),
      { numRuns: 20 },
    );
  });

  it('has no pages up to 128 entries', async () => {
    const written = await WrittenList.create();
    await written.change(async (draft) => {
      for (const id of manyIds(128)) await draft.put(device(id));
    });
    expect(written.pages.size).toBe(0);
    await written.change((draft) => draft.put(device(manyIds(1)[0] as string)));
    expect(written.head.pages.map(({ prefix }) => prefix)).toEqual(['']);
    expect(written.pages.size).toBe(1);
    expect(written.ids).toHaveLength(129);
  });

  it('writes at most two pages for each change, even if 600 IDs have the same first bits', async () => {
    const written = await WrittenList.create();
    const most: number[] = [];
    for (let n = 0; n < 600; n++) {
      const id = `am_AAAAAAAAAAAA${toBase64Url(Uint8Array.of(0, n >> 8, n)).slice(0, 4)}`;
      await written.change((draft) => draft.put(device(id)));
      most.push(written.writes);
    }
    expect(Math.max(...most)).toBe(2);
    expect(written.ids).toHaveLength(600);
    const sizes = written.list.pages.map(({ content }) => ('bytes' in content ? content.bytes.length : -1));
    expect(Math.max(...sizes)).toBeLessThan(200_000);
  });

  it('reads only the pages of the devices that a change concerns', async () => {
    const written = await WrittenList.create();
    const ids = manyIds(3000);
    for (let round = 0; round < 4; round++) {
      await written.change(async (draft) => {
        for (const id of ids) await draft.put(device(id));
      });
    }
    const reads: string[] = [];
    const draft = new ListDraft(
      written.head,
      async (hash) => {
        reads.push(hash);
        return written.pages.get(hash) as Uint8Array;
      },
      NOW,
    );
    await draft.bury({ deviceId: ids[0] as string, revokedAt: NOW, until: NOW + 9 });
    const { write } = await draft.finish();
    expect(written.head.pages.length).toBeGreaterThan(4);
    expect(reads).toHaveLength(1);
    expect(write.size).toBe(1);
  });

  it('forgets a tombstone after its time, when a change writes its page', async () => {
    const written = await WrittenList.create();
    const [gone, other] = manyIds(2) as [string, string];
    await written.change((draft) => draft.bury({ deviceId: gone, revokedAt: NOW, until: NOW + 60 }));
    await written.change((draft) => draft.put(device(other)), NOW + 59);
    expect(written.list.isRevoked(gone)).toBe(true);
    await written.change((draft) => draft.put(device(other, { addedAt: 1 })), NOW + 61);
    expect(written.list.isRevoked(gone)).toBe(false);
  });

  it('repeats the newest 256 tombstones in its head, without devices that were added again', async () => {
    const written = await WrittenList.create();
    const ids = manyIds(300);
    for (const deviceId of ids)
      await written.change((draft) => draft.bury({ deviceId, revokedAt: NOW, until: NOW + 60 }));
    await written.change((draft) => draft.put(device(ids[299] as string)));
    const recent = written.head.recent.map(({ deviceId }) => deviceId);
    expect(recent).toEqual(ids.slice(44, 299));
  });

  describe('and the pages that it no longer uses', () => {
    const ids = manyIds(200);
    const fill = async () => {
      const written = await WrittenList.create();
      await written.change(async (draft) => {
        for (const id of ids) await draft.put(device(id));
      });
      return written;
    };
    const nameOf = ({ head }: WrittenList) => head.pages[0]?.content as string;

    it('stay for 25 hours, and are removed by the first change after that', async () => {
      const written = await fill();
      const old = nameOf(written);
      await written.change((draft) => draft.put(device(ids[0] as string, { addedAt: 1 })), NOW + 10);
      expect(written.head.dropped).toEqual([[old, NOW + 10]]);
      await written.change(
        (draft) => draft.put(device(ids[0] as string, { addedAt: 2 })),
        NOW + KEEP_PAGES_SECONDS + 9,
      );
      expect(written.pages.has(old)).toBe(true);
      await written.change(
        (draft) => draft.put(device(ids[0] as string, { addedAt: 3 })),
        NOW + KEEP_PAGES_SECONDS + 10,
      );
      expect(written.pages.has(old)).toBe(false);
      expect(written.head.dropped.map(([hash]) => hash)).not.toContain(old);
    });

    it('are at most as many as a list can have pages, however often it changes', async () => {
      const written = await fill();
      const old = nameOf(written);
      const others = Array.from(
        { length: MAX_PAGES },
        () => [randomBytes(32).toString('base64url'), NOW] as const,
      );
      written.head = { ...written.head, dropped: others };
      const [[oldest] = []] = others;
      written.pages.set(oldest as string, new Uint8Array());
      await written.change((draft) => draft.put(device(ids[0] as string, { addedAt: 1 })), NOW + 10);
      expect(written.head.dropped).toEqual([...others.slice(1), [old, NOW + 10]]);
      expect(written.pages.has(oldest as string)).toBe(false);
      expect(written.pages.has(old)).toBe(true);
    });

    it('are written again if a head names them again', async () => {
      const written = await fill();
      const old = nameOf(written);
      await written.change((draft) => draft.put(device(ids[0] as string, { addedAt: 1 })), NOW + 10);
      written.pages.delete(old); // like another writer
      await written.change((draft) => draft.put(device(ids[0] as string)), NOW + KEEP_PAGES_SECONDS + 10);
      expect(nameOf(written)).toBe(old);
      expect(written.head.dropped.map(([hash]) => hash)).not.toContain(old);
      expect(written.ids).toHaveLength(200);
    });
  });
});
