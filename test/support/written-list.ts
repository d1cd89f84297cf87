import { expect } from 'vitest';
import { cryptoProvider } from '#crypto';
import type { Signer } from '../../src/core/crypto/provider';
import { deviceIdOf } from '../../src/core/devices/allow-list';
import { toBase64Url } from '../../src/core/encoding';
import { ListDraft } from '../../src/trust/format/draft';
import type { DeviceEntry } from '../../src/trust/format/entry';
import { type ListHead, openHead, sealHead } from '../../src/trust/format/head';
import { loadPages } from '../../src/trust/format/load-pages';
import { PagedList } from '../../src/trust/format/paged-list';
import { emptyHead } from './list-document';

/** When lists are written, Unix seconds. */
export const NOW = 1_764_000_000;

/** A list and the pages in its store, changed like a writer does it. */
export class WrittenList {
  head: ListHead;
  readonly #signer: Signer;
  readonly pages = new Map<string, Uint8Array>();
  list!: PagedList;
  /** How many pages the last change has read and written, and how long its sealed head is. */
  reads = 0;
  writes = 0;
  headBytes = 0;

  private constructor(head: ListHead, signer: Signer) {
    this.head = head;
    this.#signer = signer;
  }

  static async create(): Promise<WrittenList> {
    const signer = await cryptoProvider.importPrivateKey(await cryptoProvider.generatePrivateKey());
    const list = await deviceIdOf(signer.publicKey, cryptoProvider);
    const owner = toBase64Url(signer.publicKey);
    return new WrittenList(emptyHead({ revision: 1, list, owner, updatedAt: NOW }), signer);
  }

  async change(change: (draft: ListDraft) => Promise<void>, nowSeconds = NOW): Promise<void> {
    this.reads = 0;
    const read = async (hash: string) => {
      this.reads++;
      return this.pages.get(hash) as Uint8Array;
    };
    const draft = new ListDraft(this.head, read, nowSeconds);
    await change(draft);
    const { head, write, remove } = await draft.finish();
    this.writes = write.size;
    for (const [hash, bytes] of write) this.pages.set(hash, bytes);
    const sealed = await sealHead(head, this.#signer);
    this.headBytes = sealed.length;
    const opened = await openHead(sealed, [this.#signer.publicKey], head.list);
    expect(opened.head).toEqual(head);
    this.head = opened.head;
    for (const hash of remove) this.pages.delete(hash);
    const known = this.list?.pages ?? [];
    const find = async (hashes: readonly string[]) => hashes.map((hash) => this.pages.get(hash) ?? null);
    this.list = new PagedList(head, opened.mark, await loadPages(head, known, find));
  }

  get ids(): string[] {
    return [...this.list.devices()].map(({ deviceId }) => deviceId).sort();
  }
}

const POINT = toBase64Url(Uint8Array.of(2, ...new Uint8Array(32)));

/** A controller. Its key is no point, which shows only when it calls. */
export function device(deviceId: string, more: Partial<DeviceEntry> = {}): DeviceEntry {
  return {
    deviceId,
    publicKey: POINT,
    friendlyName: 'x',
    roles: ['controller'],
    hosts: [],
    addedAt: NOW,
    ...more,
  };
}
