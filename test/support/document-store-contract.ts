import { createHash } from 'node:crypto';
import type { DocumentStore } from '@authmesh/sdk/admin';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

/** What a contract needs of a store under test. */
export interface StoreUnderTest {
  readonly store: DocumentStore;
  /** Another store over the same documents, as another process would have it. */
  reopen(): DocumentStore;
}

const KEY = 'document.json';
const bytes = (text: string) => new TextEncoder().encode(text);
const nameOf = (page: string) => createHash('sha256').update(page).digest('base64url');

/**
 * Every store passes this.
 *
 * @param makeStore an empty one, for each test
 */
export function documentStoreContract(name: string, makeStore: () => Promise<StoreUnderTest>): void {
  describe(`${name} as a document store`, () => {
    let store: DocumentStore;
    let reopen: () => DocumentStore;
    beforeEach(async () => {
      const made = await makeStore();
      store = made.store;
      reopen = () => made.reopen();
    });

    const read = async (from = store) => {
      const found = await from.read(KEY);
      return found === null ? null : new TextDecoder().decode(found);
    };

    it('reads null where there is nothing', async () => {
      expect(await store.read(KEY)).toBeNull();
    });

    it('writes the first bytes, for every other store over the same documents too', async () => {
      expect(await store.swap(KEY, null, bytes('one'))).toBe(true);
      expect(await read()).toBe('one');
      expect(await read(reopen())).toBe('one');
    });

    it('replaces the bytes that it expects', async () => {
      await store.swap(KEY, null, bytes('one'));
      expect(await reopen().swap(KEY, bytes('one'), bytes('two'))).toBe(true);
      expect(await read()).toBe('two');
    });

    it.each([
      ['nothing, if there is something', null],
      ['other bytes', bytes('other')],
      ['a beginning of them', bytes('on')],
      ['them and more', bytes('one more')],
      ['no bytes at all', new Uint8Array()],
    ])('changes nothing where it expects %s', async (_, expected) => {
      await store.swap(KEY, null, bytes('one'));
      expect(await store.swap(KEY, expected, bytes('two'))).toBe(false);
      expect(await read()).toBe('one');
    });

    it('changes nothing where it expects something and there is nothing', async () => {
      expect(await store.swap(KEY, bytes('one'), bytes('two'))).toBe(false);
      expect(await store.swap(KEY, new Uint8Array(), bytes('two'))).toBe(false);
      expect(await store.read(KEY)).toBeNull();
    });

    it('tells an empty document from none', async () => {
      expect(await store.swap(KEY, null, new Uint8Array())).toBe(true);
      expect(await read()).toBe('');
      expect(await store.swap(KEY, null, bytes('one'))).toBe(false);
      expect(await store.swap(KEY, new Uint8Array(), bytes('one'))).toBe(true);
    });

    it('keeps any bytes as they are', async () => {
      let before: Uint8Array | null = null;
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (next) => {
          expect(await store.swap(KEY, before, next)).toBe(true);
          const found = (await store.read(KEY)) as Uint8Array;
          expect(Buffer.compare(found, next)).toBe(0);
          before = next;
        }),
        { numRuns: 20 },
      );
    });

    it('keeps the keys apart', async () => {
      await store.swap(KEY, null, bytes('one'));
      await store.swap(`${KEY}.2`, null, bytes('two'));
      expect(await read()).toBe('one');
    });

    it('takes the bytes as they were at the call', async () => {
      const next = bytes('one');
      const swapping = store.swap(KEY, null, next);
      next.fill(0);
      await swapping;
      expect(await read()).toBe('one');
    });

    it('lets exactly one of several swaps at once win, whose bytes are then there', async () => {
      await store.swap(KEY, null, bytes('start'));
      const stores = Array.from({ length: 8 }, (_, index) => (index % 2 === 0 ? store : reopen()));
      const won = await Promise.all(
        stores.map((each, index) => each.swap(KEY, bytes('start'), bytes(`writer ${index}`))),
      );
      expect(won.filter(Boolean)).toHaveLength(1);
      expect(await read()).toBe(`writer ${won.indexOf(true)}`);
    });

    it('lets exactly one of several first writers win', async () => {
      const won = await Promise.all(
        Array.from({ length: 8 }, (_, index) => reopen().swap(KEY, null, bytes(`writer ${index}`))),
      );
      expect(won.filter(Boolean)).toHaveLength(1);
      expect(await read()).toBe(`writer ${won.indexOf(true)}`);
    });

    it('discards what is of more bytes than were asked for, and nothing else', async () => {
      if (store.discard === undefined) return;
      await store.swap(KEY, null, bytes('12345'));
      await store.swap(`${KEY}.2`, null, bytes('12345'));
      expect((await store.read(KEY, 5))?.length).toBe(5);
      await store.discard(KEY, 5);
      expect(await read(reopen())).toBe('12345');
      await store.discard(KEY, 4);
      expect(await store.read(KEY, 5)).toBeNull();
      expect(await store.swap(KEY, null, bytes('new'))).toBe(true);
      expect(new TextDecoder().decode((await store.read(`${KEY}.2`)) ?? undefined)).toBe('12345');
    });

    describe('with pages', () => {
      const AT_MOST = 1000;
      const text = (page: Uint8Array | null | undefined) => page && new TextDecoder().decode(page);
      const pagesOf = async (names: readonly string[], from = store) =>
        (await from.readPages(KEY, names, AT_MOST)).map(text);
      const toPages = (...contents: string[]) =>
        new Map(contents.map((content) => [nameOf(content), bytes(content)]));
      const write = (...contents: string[]) => ({ write: toPages(...contents), remove: [] });

      it('has none at first, and returns null for each name', async () => {
        expect(await pagesOf([nameOf('one')])).toEqual([null]);
        await store.swap(KEY, null, bytes('head'));
        expect(await pagesOf([nameOf('one'), nameOf('two')])).toEqual([null, null]);
        expect(await pagesOf([])).toEqual([]);
      });

      it('writes them with the document, shows them to every other store, and returns them in the order of the names', async () => {
        expect(await store.swap(KEY, null, bytes('head'), write('one', 'two'))).toBe(true);
        const names = [nameOf('two'), nameOf('none'), nameOf('one'), nameOf('two')];
        expect(await pagesOf(names, reopen())).toEqual(['two', null, 'one', 'two']);
        expect(await read(reopen())).toBe('head');
      });

      it('keeps pages that a later swap does not name', async () => {
        await store.swap(KEY, null, bytes('head'), write('one'));
        await store.swap(KEY, bytes('head'), bytes('head 2'), write('two'));
        await store.swap(KEY, bytes('head 2'), bytes('head 3'));
        const document = `head 3, which names "${nameOf('one')}" and "${nameOf('two')}"`;
        await store.swap(KEY, bytes('head 3'), bytes(document));
        expect(await pagesOf([nameOf('one'), nameOf('two')])).toEqual(['one', 'two']);
      });

      it('changes neither the document nor its pages if another writer was faster', async () => {
        const document = bytes(`head "${nameOf('one')}"`);
        await store.swap(KEY, null, document, write('one'));
        expect(await store.swap(KEY, bytes('other'), bytes('head 2'), write('two'))).toBe(false);
        const losing = { write: new Map(), remove: [nameOf('one')] };
        expect(await store.swap(KEY, bytes('other'), bytes('head 2'), losing)).toBe(false);
        expect(await read()).toBe(text(document));
        expect(await pagesOf([nameOf('one')])).toEqual(['one']);
      });

      it('removes the pages that a swap names for removal', async () => {
        await store.swap(KEY, null, bytes('head'), write('one', 'two'));
        const next = bytes(`head "${nameOf('two')}"`);
        const changes = { write: toPages('three'), remove: [nameOf('one')] };
        await store.swap(KEY, bytes('head'), bytes(`${text(next)} "${nameOf('three')}"`), changes);
        expect(await pagesOf(['one', 'two', 'three'].map(nameOf))).toEqual([null, 'two', 'three']);
      });

      it('writes a page again after it was removed', async () => {
        await store.swap(KEY, null, bytes('head'), write('one'));
        await store.swap(KEY, bytes('head'), bytes('head 2'), { write: new Map(), remove: [nameOf('one')] });
        expect(await pagesOf([nameOf('one')], reopen())).toEqual([null]);
        const document = `head "${nameOf('one')}"`;
        await reopen().swap(KEY, bytes('head 2'), bytes(document), write('one'));
        expect(await pagesOf([nameOf('one')])).toEqual(['one']);
      });

      it('replaces a page that is there already, because it may be damaged', async () => {
        const name = nameOf('one');
        const damaged = new Map([[name, bytes('0ne')]]);
        await store.swap(KEY, null, bytes('head'), { write: damaged, remove: [] });
        await store.swap(KEY, bytes('head'), bytes(`head "${name}"`), write('one'));
        expect(await pagesOf([name])).toEqual(['one']);
      });

      it('returns null for a page that is too large, and the other pages', async () => {
        const [large, largest] = ['x'.repeat(AT_MOST + 1), 'x'.repeat(AT_MOST)];
        await store.swap(KEY, null, bytes('head'), write(large, largest));
        expect(await pagesOf([nameOf(large), nameOf(largest)])).toEqual([null, largest]);
      });

      it('keeps the pages of two documents apart', async () => {
        await store.swap(`other-${KEY}`, null, bytes('head'));
        const found = await store.readPages(`other-${KEY}`, [nameOf('one')], AT_MOST);
        expect(found).toEqual([null]);
      });

      it('has all pages of the writer that wins among several', async () => {
        await store.swap(KEY, null, bytes('start'));
        const documents = Array.from(
          { length: 8 },
          (_, i) => `head "${nameOf(`page ${i}`)}" "${nameOf('all')}"`,
        );
        const won = await Promise.all(
          documents.map((document, i) =>
            (i % 2 === 0 ? store : reopen()).swap(
              KEY,
              bytes('start'),
              bytes(document),
              write(`page ${i}`, 'all'),
            ),
          ),
        );
        expect(won.filter(Boolean)).toHaveLength(1);
        const winner = won.indexOf(true);
        expect(await read()).toBe(documents[winner]);
        expect(await pagesOf([nameOf(`page ${winner}`), nameOf('all')])).toEqual([`page ${winner}`, 'all']);
      });
    });

    it('has a stamp that differs when the bytes do, and stays when they do', async () => {
      const { stamp } = store;
      if (stamp === undefined) return;
      const seen = [store.stamp?.(KEY)];
      let before: Uint8Array | null = null;
      for (const text of ['a', 'b', 'a', 'c']) {
        const next = bytes(text); // of the same length each time
        await reopen().swap(KEY, before, next);
        before = next;
        seen.push(store.stamp?.(KEY));
        expect(store.stamp?.(KEY)).toBe(seen.at(-1));
      }
      expect(new Set(seen).size).toBe(seen.length);
    });
  });
}
