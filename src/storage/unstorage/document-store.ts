import { join } from 'node:path';
import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { warnOnce } from '../../process/log';
import type { DocumentStore, PageChanges } from '../document-store';
import { FileStore } from '../files/file-store';
import { pageKey } from '../page-key';
import { isIoRedis } from '../redis/client';
import { RedisDocumentStore } from '../redis/documents/document-store';
import { assertStorage, driversOf, hasPrefix, readRaw, type UnstorageLike } from './unstorage';

export { assertStorage, type UnstorageLike } from './unstorage';

/** The beginning of the keys of all lists, and of what belongs to them. */
const LISTS = 'list:';

// A map, because a storage is the caller's object.
const stores = new WeakMap<UnstorageLike, DocumentStore>();

/**
 * A document store on a storage of unstorage. With the drivers `redis`, `fs` and `fs-lite`, any number of processes can
 * make changes safely; with any other driver only one can, which is logged once.
 *
 * @throws TypeError if it is not a storage of unstorage
 */
export function toDocumentStore(storage: UnstorageLike): DocumentStore {
  assertStorage(storage);
  const store = stores.get(storage) ?? make(storage);
  stores.set(storage, store);
  return store;
}

function make(storage: UnstorageLike): DocumentStore {
  const { base: mountedAt = '', driver = undefined } = storage.getMount?.(LISTS) ?? {};
  const options = (driver?.options ?? {}) as { base?: unknown };
  const base = typeof options.base === 'string' ? options.base : '';
  // A storage with a deeper mount or a prefix has its own way to read and write.
  const isPlain = mountedAt === '' && !hasPrefix(storage);
  if (isPlain && driver?.name === 'redis') {
    const client = driver.getInstance?.();
    if (typeof client === 'object' && client !== null && isIoRedis(client)) {
      const prefix = base.replace(/:$/, '');
      return new RedisDocumentStore({ kind: 'client', client }, prefix === '' ? '' : `${prefix}:`);
    }
  }
  if (isPlain && base !== '' && (driver?.name === 'fs' || driver?.name === 'fs-lite')) {
    return new FolderStore(base);
  }
  const names = driversOf(storage, LISTS).map(({ name = '' }) => name);
  warnOnce(
    `If two administrators change the allow list in ${names.length === 1 && names[0] ? names[0] : 'this storage'} at the same moment, a change can be lost: it has no compare-and-swap.`,
  );
  const isEventual = names.some((name) => EVENTUAL.test(name));
  return new StorageDocumentStore(storage, isEventual);
}

/** The file layout of unstorage: a colon in a key separates folders. */
class FolderStore implements DocumentStore {
  constructor(readonly base: string) {}

  read(key: string, atMost?: number): Promise<Uint8Array | null> {
    const [store, name] = this.#place(key);
    return store.read(name, atMost);
  }

  readPages(key: string, names: readonly string[], atMost: number): Promise<(Uint8Array | null)[]> {
    const [store, name] = this.#place(key);
    return store.readPages(name, names, atMost);
  }

  swap(key: string, expected: Uint8Array | null, next: Uint8Array, pages?: PageChanges): Promise<boolean> {
    const [store, name] = this.#place(key);
    return store.swap(name, expected, next, pages);
  }

  discard(key: string, moreThan: number): Promise<void> {
    const [store, name] = this.#place(key);
    return store.discard(name, moreThan);
  }

  #place(key: string): [FileStore, string] {
    const parts = key.split(':');
    const name = parts.pop() as string;
    return [new FileStore(join(this.base, ...parts), (document) => `${document}.pages`), name];
  }
}

/** Drivers that may return old data for some time. */
const EVENTUAL = /^cloudflare-kv|^netlify-blobs|^vercel-kv/;

/** A driver returns a whole item, whatever its size. With this limit, a reader holds only a few huge items in memory. */
const READS_AT_ONCE = 4;

/** Any other storage: changes are safe within this process only. */
class StorageDocumentStore implements DocumentStore {
  readonly #storage: UnstorageLike;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    storage: UnstorageLike,
    readonly isEventual: boolean,
  ) {
    this.#storage = storage;
  }

  async read(key: string, atMost?: number): Promise<Uint8Array | null> {
    try {
      return await readRaw(this.#storage, key, atMost);
    } catch (error) {
      throw unavailable(error);
    }
  }

  async readPages(key: string, names: readonly string[], atMost: number): Promise<(Uint8Array | null)[]> {
    const pages: (Uint8Array | null)[] = [];
    const waiting = names.entries();
    const readSome = async () => {
      for (const [i, name] of waiting) {
        const page = await this.read(pageKey(key, name), atMost + 1);
        pages[i] = page !== null && page.length > atMost ? null : page;
      }
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, readSome));
    return pages;
  }

  swap(
    key: string,
    expected: Uint8Array | null,
    next: Uint8Array,
    pages: PageChanges = { write: new Map(), remove: [] },
  ): Promise<boolean> {
    const content = new Uint8Array(next);
    const before = expected === null ? null : new Uint8Array(expected);
    const swapping = this.#last.then(async () => {
      const now = await this.read(key, (before?.length ?? 0) + 1); // one byte more shows that the item is longer
      if (now === null || before === null ? now !== before : Buffer.compare(now, before) !== 0) return false;
      try {
        for (const [name, page] of pages.write) await this.#storage.setItemRaw(pageKey(key, name), page);
        await this.#storage.setItemRaw(key, content);
      } catch (error) {
        throw unavailable(error);
      }
      for (const name of pages.remove) {
        await this.#storage.removeItem?.(pageKey(key, name)).catch(() => {}); // a leftover page only takes up space
      }
      return true;
    });
    this.#last = swapping.catch(() => {});
    return swapping;
  }

  discard(key: string, moreThan: number): Promise<void> {
    const discarding = this.#last.then(async () => {
      const now = await this.read(key, moreThan + 1);
      if (now === null || now.length <= moreThan) return;
      try {
        if (this.#storage.removeItem === undefined) await this.#storage.setItemRaw(key, new Uint8Array());
        else await this.#storage.removeItem(key);
      } catch (error) {
        throw unavailable(error);
      }
    });
    this.#last = discarding.catch(() => {});
    return discarding;
  }
}

function unavailable(error: unknown): AmeshError {
  if (isAmeshError(error)) return error;
  return new AmeshError(SERVER_CODES.allow_list_unavailable, 'The storage of the allow list failed.', {
    cause: error,
  });
}
