import type { Signer } from '../../core/crypto/provider';
import { toBase64Url } from '../../core/encoding';
import { AllowListIntegrityError, AmeshError } from '../../core/errors/amesh-error';
import type { DocumentStore } from '../../storage/document-store';
import { STORAGE_CODES } from '../../storage/errors/codes';
import { TRUST_CODES } from '../errors/codes';
import { ListDraft } from '../format/draft';
import { joinList } from '../format/export';
import { emptyHead, type ListHead, MAX_HEAD_BYTES, markOf, type OpenedHead, sealHead } from '../format/head';
import { MAX_PAGE_BYTES } from '../format/page';
import type { PagedList } from '../format/paged-list';
import { ALLOW_LIST_KEY, lastSeenKey } from './keys';
import { LastSeenRecord } from './last-seen';
import { ABSENT, OLDER, OTHER, SET_BACK, TOO_FAR } from './list-advice';
import type { ListPlace, OpenedList, Owner, Owners, ReplacedList } from './list-place';
import { type FoundHead, ListReader } from './list-reader';
import { SeenRevisions } from './seen';
import type { Seen } from './seen-in-memory';

const ATTEMPTS = 100;

const NOTHING: ReplacedList = { after: 0, bytes: null };

/**
 * The allow list in its store. Opening it checks the owner's key, and that it is not older than a list that was seen. Changes are
 * made by compare-and-swap.
 */
export class ListStore {
  /** When its devices were last seen. It is stored next to the list, not in it. */
  readonly lastSeen: LastSeenRecord;
  readonly #store: DocumentStore;
  readonly #owners: readonly Uint8Array[];
  readonly #signer: Signer | undefined;
  readonly #list: string;
  readonly #key: string;
  readonly #reader: ListReader;
  readonly #seen: SeenRevisions;

  /**
   * @param owner the keys that may have sealed the list, and which of them seals the next revision
   * @param list the ID of the device that has this list
   */
  constructor(store: DocumentStore, owner: Owner, list: string, place: ListPlace = {}) {
    this.#store = store;
    const { owners, minRevision, returned, signer }: Owners =
      'sign' in owner ? { owners: [owner.publicKey], signer: owner } : owner;
    this.#owners = owners;
    this.#signer = signer;
    this.#list = list;
    this.#key = place.key ?? ALLOW_LIST_KEY;
    this.lastSeen = new LastSeenRecord(store, (prefix) => lastSeenKey(this.#key, prefix));
    const seen = new SeenRevisions(place.seen ?? store, owners, returned);
    this.#seen = seen;
    // If a folder is restored, the list and the record go back together. In a store, a list can go back alone, and a restart must
    // not accept that.
    const isStoredWithSeen = place.seen === undefined;
    this.#reader = new ListReader(
      {
        read: () => store.read(this.#key, MAX_HEAD_BYTES + 1),
        readWhole: (atMost) => store.read(this.#key, atMost),
        readPages: (names) => store.readPages(this.#key, names, MAX_PAGE_BYTES),
        isEventual: store.isEventual,
      },
      { owners, list, minRevision, returned },
      seen,
      {
        absent: place.absent ?? ABSENT,
        older: OLDER,
        other: OTHER,
        tooFar: TOO_FAR,
        assertNotSetBack: isStoredWithSeen
          ? (opened, newest) => assertNotSetBack(seen, opened, newest)
          : undefined,
      },
    );
  }

  /** Remembers what another store of this list has seen in this process. */
  continueFrom(other: ListStore): void {
    this.#seen.adopt(other.#seen);
  }

  /**
   * Reads the list with all its pages. If nothing has changed since the last read, it returns the same object.
   *
   * @param answered called when the store has returned the head, before it is opened
   * @throws AllowListIntegrityError if the list is missing, changed, another device's, or older than one that was seen
   */
  read(answered?: () => void): Promise<PagedList> {
    return this.#reader.read(answered);
  }

  /** Reads only the head. Throws like {@link read}. */
  async readHead(): Promise<ListHead> {
    const found = (await this.#reader.find()) as FoundHead; // null only if a known head was given
    if (found.isNews) await this.#reader.remember(found);
    return found.head;
  }

  /**
   * Reads the list with its bytes, for a copy elsewhere.
   *
   * @throws what {@link read} throws; AmeshError if a page is missing or damaged
   */
  async open(): Promise<OpenedList> {
    for (;;) {
      const { bytes, mark } = (await this.#reader.find()) as FoundHead;
      const list = await this.#reader.read();
      if (list.mark !== mark) continue; // the list has changed in between
      const pages = list.pages.flatMap(({ hash, content }) => {
        if ('error' in content) throw content.error;
        return hash === null ? [] : [[hash, content.bytes] as const];
      });
      return { list, head: bytes, pages: new Map(pages) };
    }
  }

  /** Records the revision that an instance uses, if the store supports that. */
  async confirm(instance: string, revision: number): Promise<void> {
    await this.#store.confirm?.(this.#key, instance, revision);
  }

  /**
   * How many instances are running, and how many of them use this revision or a later one; null if the store does not
   * support that. These numbers are not sealed.
   */
  async confirmations(revision: number): Promise<{ confirmed: number; instances: number } | null> {
    const all = await this.#store.confirmed?.(this.#key);
    if (all === undefined) return null;
    return { confirmed: all.filter((each) => each >= revision).length, instances: all.length };
  }

  /** Calls back when the list may have changed, if the store supports that. It may miss a change. */
  watch(changed: () => void): void {
    this.#store.watch?.(this.#key, changed);
  }

  /**
   * Changes the list: reads its head and the pages that the change needs, seals the next revision and swaps it in. If another
   * process was faster, it tries again.
   *
   * @param change changes the draft, or leaves it unchanged if there is nothing to do; may run several times
   * @returns the current head, and the result of `change`
   * @throws what `change` throws; AmeshError `store_conflict`, `store_busy`, `list_moved` or `not_taken_over` if nothing
   *   has changed
   */
  async update<T>(
    change: (draft: ListDraft) => Promise<T> | T,
  ): Promise<{ readonly head: ListHead; readonly result: T; readonly isChanged: boolean }> {
    return this.#update(change, 'update');
  }

  /**
   * Has the next owner seal the list, even if nothing else changes. From the first list of the next owner on, every list of the
   * former owner is refused. It does nothing if the next owner has sealed the list before.
   *
   * @throws as {@link update}
   */
  async takeOver(change: (draft: ListDraft) => Promise<void> | void = () => {}): Promise<ListHead> {
    return (await this.#update(change, 'take-over')).head;
  }

  async #update<T>(change: (draft: ListDraft) => Promise<T> | T, how: 'update' | 'take-over') {
    let unseen: OpenedHead | null = null;
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const found = (await this.#reader.find()) as FoundHead;
        unseen = found.isNews ? found : null;
        const isTakeOver = how === 'take-over' && found.position < this.#position;
        if (!isTakeOver) this.#assertOwner(found);
        if (how === 'take-over' && !isTakeOver)
          return { head: found.head, result: undefined as T, isChanged: false };
        const draft = this.#draft(found);
        const result = await change(draft);
        if (!draft.isChanged && !isTakeOver) return { head: found.head, result, isChanged: false };
        const next = await this.#write(joinList(found.bytes, [found.rest]), draft, found);
        if (next !== null) {
          unseen = null; // the write has recorded a later revision
          return { head: next, result, isChanged: true };
        }
        await pause(Math.random() * 5 * Math.min(attempt + 1, 20)); // a random pause, so that the same writers do not collide again
      }
      throw new AmeshError(STORAGE_CODES.store_conflict);
    } finally {
      if (unseen !== null) await this.#reader.remember(unseen);
    }
  }

  /**
   * Returns the result that a change would have, and writes nothing.
   *
   * @throws what {@link update} throws before it writes
   */
  async preview<T>(change: (draft: ListDraft) => Promise<T> | T): Promise<T> {
    const found = (await this.#reader.find()) as FoundHead;
    this.#assertOwner(found);
    return change(this.#draft(found));
  }

  /**
   * Who seals the list: a key of this device (`us`), the former owner, from whom this device has yet to take it over, or the next
   * owner.
   */
  async sealedBy(): Promise<'us' | 'former' | 'next'> {
    const { position } = (await this.#reader.find()) as FoundHead;
    return position === this.#position ? 'us' : position < this.#position ? 'former' : 'next';
  }

  /** The position of this device among the owners; -1 if it is none of them. */
  get #position(): number {
    const own = this.#signer && toBase64Url(this.#signer.publicKey);
    return this.#owners.findIndex((owner) => toBase64Url(owner) === own);
  }

  /** @throws AmeshError `list_moved` or `not_taken_over` if another owner seals the list; `no_identity` without a key */
  #assertOwner({ position, head }: OpenedHead): void {
    this.#assertSigner();
    if (position < this.#position) throw new AmeshError(TRUST_CODES.not_taken_over);
    if (position > this.#position) {
      const who = head.ownerId ?? head.list;
      throw new AmeshError(TRUST_CODES.list_moved, `The list was taken over by its next owner (${who}).`);
    }
  }

  #assertSigner(): Signer {
    if (this.#signer !== undefined) return this.#signer;
    throw new AmeshError(
      TRUST_CODES.no_identity,
      'This instance has no private key, so it cannot change the allow list.',
    );
  }

  /**
   * Creates the list.
   *
   * @param fill adds its first entries; default: none
   * @param replaced the list that it replaces; default: none
   * @throws AmeshError `store_conflict` if the store has another list
   */
  async create(
    fill: (draft: ListDraft) => Promise<void> | void = () => {},
    { after, bytes, head: former }: ReplacedList = NOTHING,
  ): Promise<ListHead> {
    const nowSeconds = Math.floor(Date.now() / 1000);
    const empty: ListHead = {
      ...emptyHead(this.#list),
      revision: after,
      dropped: former === undefined ? [] : pagesToDrop(former, nowSeconds),
    };
    const noPage = () => Promise.reject(new Error('An empty list has no page.'));
    const draft = new ListDraft(empty, noPage, nowSeconds);
    await fill(draft);
    const head = await this.#write(bytes, draft, null);
    if (head === null) throw new AmeshError(STORAGE_CODES.store_conflict, 'There is already an allow list.');
    return head;
  }

  #draft(found: FoundHead): ListDraft {
    const read = (hash: string, prefix: string) => this.#reader.readPage(hash, prefix, found);
    return new ListDraft(found.head, read, Math.floor(Date.now() / 1000));
  }

  /** @returns null if another process was faster */
  async #write(
    expected: Uint8Array | null,
    draft: ListDraft,
    found: FoundHead | null,
  ): Promise<ListHead | null> {
    const signer = this.#assertSigner();
    const { head: unsigned, write: changed, remove } = await draft.finish();
    const head = { ...unsigned, owner: toBase64Url(signer.publicKey) };
    const bytes = await sealHead(head, signer);
    if (bytes.length > MAX_HEAD_BYTES) throw new AmeshError(TRUST_CODES.list_full);
    // An exported list has its pages after its head. They move to the place where other lists have them.
    const exported = found === null ? new Map() : await this.#reader.pagesBehind(found);
    const write = exported.size === 0 ? changed : new Map([...exported, ...changed]);
    if (!(await this.#store.swap(this.#key, expected, bytes, { write, remove }))) return null;
    await this.#reader.remember({ head, position: this.#position, mark: await markOf(bytes) });
    return head;
  }
}

/** If a whole folder was restored, only a process that has seen a later revision notices that. */
async function assertNotSetBack(
  seen: SeenRevisions,
  { head, mark }: OpenedHead,
  newest: Seen,
): Promise<void> {
  if (!(await seen.isSetBack(head.list, mark))) return;
  throw new AllowListIntegrityError(
    `The folder was restored to an older state while this process ran: its list has revision ${head.revision}, but this process has seen ${newest.revision}.`,
    SET_BACK,
  );
}

function pagesToDrop({ pages, dropped }: ListHead, nowSeconds: number): ListHead['dropped'] {
  const named = pages.flatMap(({ content }) => (typeof content === 'string' ? [content] : []));
  return [...dropped, ...named.map((hash) => [hash, nowSeconds] as const)];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
