import type { Signer } from '../../core/crypto/provider';
import { toBase64Url } from '../../core/encoding';
import { AllowListIntegrityError, AmeshError } from '../../core/errors/amesh-error';
import type { Fix } from '../../core/errors/define-codes';
import type { DocumentStore } from '../../storage/document-store';
import { STORAGE_CODES } from '../../storage/errors/codes';
import { TRUST_CODES } from '../errors/codes';
import { ListDraft } from '../format/draft';
import { joinList } from '../format/export';
import { type ListHead, MAX_HEAD_BYTES, markOf, type OpenedHead, sealHead } from '../format/head';
import { MAX_PAGE_BYTES } from '../format/page';
import type { PagedList } from '../format/paged-list';
import { ALLOW_LIST_KEY, lastSeenKey } from './keys';
import { LastSeenRecord } from './last-seen';
import { type FoundHead, ListReader } from './list-reader';
import { SeenRevisions } from './seen';
import type { Seen } from './seen-in-memory';

const ATTEMPTS = 100;

/** A list that is not in the folder is usually in a store, and rarely lost. A reset would then create a second list. */
const ABSENT = {
  /** What is missing, in one sentence. */
  detail: 'There is no allow_list.json in the folder.',
  /** What to do about it. */
  fix: 'If the list is in a store, set AMESH_STORE_URL. If not, restore it, or start an empty one with',
  /** With which command. */
  command: ['amesh', 'trust', 'reset'],
};

const KEEP = ['amesh', 'trust', 'reset', '--keep'];

const OLDER: Fix = {
  fix: 'Restore the newer one. If it is lost, continue from this one, without the changes since',
  command: KEEP,
};

const OTHER: Fix = {
  fix: 'Restore the other one. If it is lost, continue from this one, without the changes in the other',
  command: KEEP,
};

const SET_BACK: Fix = {
  fix: 'Restore the newer folder. If it is lost, restart this process: it then continues from this older list, without the changes since.',
};

/** Where a list lies, if not in a folder of its own. */
export interface ListPlace {
  /** The name under which it lies; default `allow_list.json`. */
  readonly key?: string | undefined;
  /** What remembers the revisions seen; default the store of the list. */
  readonly seen?: DocumentStore | undefined;
  /** What to say where no list is there; default what fits a folder. */
  readonly absent?: typeof ABSENT | undefined;
}

/** Whose key seals a list; without `sign` it can only be read. */
export type Owner =
  | Signer
  | {
      /** The compressed point, 33 bytes. */
      readonly publicKey: Uint8Array;
      /** The key that seals it later on, 33 bytes; absent where there is none. */
      readonly next?: Uint8Array | undefined;
      /** Absent: the list can only be read. */
      readonly sign?: undefined;
    };

/** What a new list replaces. */
export interface ReplacedList {
  /** The revision that the new one has to follow. */
  readonly after: number;
  /** The bytes that are there; null where there are none. */
  readonly bytes: Uint8Array | null;
  /** What they say, where that is known: its pages go with time. */
  readonly head?: ListHead | undefined;
}

const NOTHING: ReplacedList = { after: 0, bytes: null };

/** A list, and the bytes that it is stored in. */
export interface OpenedList {
  /** What it says. */
  readonly list: PagedList;
  /** The head, seal and all. */
  readonly head: Uint8Array;
  /** The pages by their hashes, in the order in which the head names them; none in a small list. */
  readonly pages: ReadonlyMap<string, Uint8Array>;
}

/** The allow list in its store: opened against the owner's key, never older than seen, changed by compare-and-swap. */
export class ListStore {
  /** When its devices were last seen. It lies beside the list, and is no part of it. */
  readonly lastSeen: LastSeenRecord;
  readonly #store: DocumentStore;
  readonly #owner: Owner;
  readonly #list: string;
  readonly #key: string;
  readonly #reader: ListReader;

  /**
   * @param owner whose key has sealed the list, and seals the next revision
   * @param list the deviceId for which it is
   */
  constructor(store: DocumentStore, owner: Owner, list: string, place: ListPlace = {}) {
    this.#store = store;
    this.#owner = owner;
    this.#list = list;
    this.#key = place.key ?? ALLOW_LIST_KEY;
    this.lastSeen = new LastSeenRecord(store, (prefix) => lastSeenKey(this.#key, prefix));
    const next = 'next' in owner && owner.next !== undefined ? [owner.next] : [];
    const owners = [owner.publicKey, ...next];
    const seen = new SeenRevisions(place.seen ?? store, owners);
    // Both go back where the folder does. In a store a list can go back alone, and a restart must not make it count.
    const liesBesideSeen = place.seen === undefined;
    this.#reader = new ListReader(
      {
        read: () => store.read(this.#key, MAX_HEAD_BYTES + 1),
        readWhole: (atMost) => store.read(this.#key, atMost),
        readPages: (names) => store.readPages(this.#key, names, MAX_PAGE_BYTES),
        isEventual: store.isEventual,
      },
      { owners, list },
      seen,
      {
        absent: place.absent ?? ABSENT,
        older: OLDER,
        other: OTHER,
        assertNotSetBack: liesBesideSeen
          ? (opened, newest) => assertNotSetBack(seen, opened, newest)
          : undefined,
      },
    );
  }

  /**
   * The list with all of its pages, the same object where nothing has changed since it was read last.
   *
   * @param answered called when the store has given the head, which has yet to be opened
   * @throws AllowListIntegrityError where it is absent, changed, another's, or older than one that was seen
   */
  read(answered?: () => void): Promise<PagedList> {
    return this.#reader.read(answered);
  }

  /** The head alone; throws as {@link read} does. */
  async readHead(): Promise<ListHead> {
    const found = (await this.#reader.find()) as FoundHead; // since nothing is known of it
    if (found.isNews) await this.#reader.remember(found);
    return found.head;
  }

  /**
   * The list with its bytes, to be kept elsewhere.
   *
   * @throws as {@link read}; AmeshError where a page is not there
   */
  async open(): Promise<OpenedList> {
    for (;;) {
      const { bytes, mark } = (await this.#reader.find()) as FoundHead;
      const list = await this.#reader.read();
      if (list.mark !== mark) continue; // changed in between
      const pages = list.pages.flatMap(({ hash, content }) => {
        if ('error' in content) throw content.error;
        return hash === null ? [] : [[hash, content.bytes] as const];
      });
      return { list, head: bytes, pages: new Map(pages) };
    }
  }

  /** Notes by which revision an instance goes, where the store can keep that. */
  async confirm(instance: string, revision: number): Promise<void> {
    await this.#store.confirm?.(this.#key, instance, revision);
  }

  /**
   * How many instances are at work, and how many of them go by a revision at least; null where the store cannot tell.
   * Nothing of it is sealed.
   */
  async confirmations(revision: number): Promise<{ confirmed: number; instances: number } | null> {
    const all = await this.#store.confirmed?.(this.#key);
    if (all === undefined) return null;
    return { confirmed: all.filter((each) => each >= revision).length, instances: all.length };
  }

  /** Calls back when the list may have changed, where the store can tell; it cannot always. */
  watch(changed: () => void): void {
    this.#store.watch?.(this.#key, changed);
  }

  /**
   * Changes the list: reads its head and the pages that the change needs, seals the next revision and swaps it in; again
   * where another process was faster.
   *
   * @param change changes the draft, or leaves it as it is where nothing is to be done; may run several times
   * @returns the head that counts now, and what `change` gave
   * @throws what `change` throws; AmeshError `store_conflict` or `store_busy`, with nothing changed
   */
  async update<T>(
    change: (draft: ListDraft) => Promise<T> | T,
  ): Promise<{ readonly head: ListHead; readonly result: T; readonly isChanged: boolean }> {
    let unseen: OpenedHead | null = null;
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const found = (await this.#reader.find()) as FoundHead;
        unseen = found.isNews ? found : null;
        const draft = this.#draft(found);
        const result = await change(draft);
        if (!draft.isChanged) return { head: found.head, result, isChanged: false };
        const next = await this.#write(joinList(found.bytes, [found.rest]), draft, found);
        if (next !== null) {
          unseen = null; // the revision behind it is remembered
          return { head: next, result, isChanged: true };
        }
        await pause(Math.random() * 5 * Math.min(attempt + 1, 20)); // or the same ones would meet again
      }
      throw new AmeshError(STORAGE_CODES.store_conflict);
    } finally {
      if (unseen !== null) await this.#reader.remember(unseen);
    }
  }

  /**
   * What a change would do, and whether it throws; nothing is written.
   *
   * @throws as {@link update}
   */
  async preview<T>(change: (draft: ListDraft) => Promise<T> | T): Promise<T> {
    return change(this.#draft((await this.#reader.find()) as FoundHead));
  }

  /**
   * Creates the list.
   *
   * @param fill puts into it what it holds; default: nothing
   * @param replaced what lies there and is to be replaced; default: nothing
   * @throws AmeshError `store_conflict` where there is one
   */
  async create(
    fill: (draft: ListDraft) => Promise<void> | void = () => {},
    { after, bytes, head: former }: ReplacedList = NOTHING,
  ): Promise<ListHead> {
    const nowSeconds = Math.floor(Date.now() / 1000);
    const empty: ListHead = {
      revision: after,
      list: this.#list,
      owner: toBase64Url(this.#owner.publicKey),
      updatedAt: 0,
      hosts: [],
      tokens: [],
      grants: [],
      joins: [],
      targets: [],
      ended: [],
      recent: [],
      pages: [{ prefix: '', content: [] }],
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

  /** @returns null where another process was faster */
  async #write(
    expected: Uint8Array | null,
    draft: ListDraft,
    found: FoundHead | null,
  ): Promise<ListHead | null> {
    const owner = this.#owner;
    if (owner.sign === undefined)
      throw new AmeshError(
        TRUST_CODES.no_identity,
        'This instance has no private key, so it cannot change the allow list.',
      );
    const { head, write: changed, remove } = await draft.finish();
    const bytes = await sealHead(head, owner);
    if (bytes.length > MAX_HEAD_BYTES) throw new AmeshError(TRUST_CODES.list_full);
    // An exported list has its pages behind its head: from here on they lie where those of any other list do.
    const behind = found === null ? new Map() : await this.#reader.pagesBehind(found);
    const write = behind.size === 0 ? changed : new Map([...behind, ...changed]);
    if (!(await this.#store.swap(this.#key, expected, bytes, { write, remove }))) return null;
    await this.#reader.remember({ head, position: 0, mark: await markOf(bytes) });
    return head;
  }
}

/** A folder that was restored as a whole is in order for every process but those that have seen more of it. */
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
