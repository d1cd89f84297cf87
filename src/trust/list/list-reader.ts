import { equalBytes, toBase64Url } from '../../core/encoding';
import { AllowListIntegrityError, AmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import type { Fix } from '../../core/errors/define-codes';
import { cutPages, splitHead } from '../format/export';
import { type ListHead, MAX_HEAD_BYTES, type OpenedHead, openHead } from '../format/head';
import { checkPage, loadPages, type ReadPages } from '../format/load-pages';
import { MAX_PAGE_BYTES } from '../format/page';
import { type Page, PagedList, ParsedDevices } from '../format/paged-list';
import { compareWithSeen, MAX_JUMP } from './newest';
import type { Seen, SeenInMemory } from './seen-in-memory';

/** Where a list is read from. */
export interface ListSource {
  /** Returns the bytes of the head, or of a whole list as `amesh list --export` writes it; null if there is no list. */
  readonly read: () => Promise<Uint8Array | null>;
  /** Returns a whole list, if `read` returns no more bytes than a head can have. */
  readonly readWhole?: ((atMost: number) => Promise<Uint8Array | null>) | undefined;
  /** Returns pages by their hashes. Absent if the list must be whole. */
  readonly readPages?: ReadPages | undefined;
  /** Whether `read` may return the old list for a while after a change, and pages may arrive later than their head. */
  readonly isEventual?: boolean | undefined;
  /** In an eventual store: how long the last list stays valid while pages of a newer list are missing; default 0. */
  readonly lagSeconds?: number | undefined;
}

/** Which lists are trusted. */
export interface ListTrust {
  /** The owner, and the next owner if there is one: compressed points, 33 bytes. */
  readonly owners: readonly Uint8Array[];
  /** The deviceId that the list must be for. */
  readonly list: string;
  /** The lowest revision that is accepted, even if no list was seen here; default 0. */
  readonly minRevision?: number | undefined;
  /** An owner whose lists count again, although another one had replaced it: 33 bytes in base64url. Default none. */
  readonly returned?: string | undefined;
}

/** The texts for a list that is missing, or is not the one that was seen. */
export interface ListAdvice {
  readonly absent: { readonly detail: string } & Fix;
  readonly older: Fix;
  readonly other: Fix;
  /** Default: as `other`. */
  readonly tooFar?: Fix | undefined;
  /** Throws a better error if the list is older only because the whole folder was restored while this process ran. */
  readonly assertNotSetBack?: ((opened: OpenedHead, seen: Seen) => Promise<void>) | undefined;
}

/** A head with its bytes, and whether it is new. */
export interface FoundHead extends OpenedHead {
  /** The bytes, with the seal. */
  readonly bytes: Uint8Array;
  /** What follows the head in the same text. */
  readonly rest: Uint8Array;
  /** Whether it is newer than every list that was seen here. */
  readonly isNews: boolean;
}

/** Reads a list: checks its head against the owner's key and what was seen, and reads the pages that are new. */
export class ListReader {
  readonly #source: ListSource;
  readonly #trust: ListTrust;
  readonly #seen: SeenInMemory;
  readonly #advice: ListAdvice;
  readonly #parsed = new ParsedDevices();
  /** The head of `#list`; null if its text must be read again. */
  #last: FoundHead | null = null;
  #list: PagedList | null = null;
  /** Since when heads have had missing pages; null if the last head has all its pages. */
  #lagSinceMs: number | null = null;

  constructor(source: ListSource, trust: ListTrust, seen: SeenInMemory, advice: ListAdvice) {
    this.#source = source;
    this.#trust = trust;
    this.#seen = seen;
    this.#advice = advice;
  }

  /**
   * The current list; the same object if nothing has changed. A missing or damaged page affects only its own devices, and
   * is read again next time.
   *
   * @param answered called when the source has returned the head, before it is opened
   * @throws AllowListIntegrityError if the head is missing, changed, from another owner, or older than one that was seen
   */
  async read(answered?: () => void): Promise<PagedList> {
    const found = await this.find(this.#last, answered);
    if (found === null) return this.#mend(this.#list as PagedList);
    const { head, mark } = found;
    const pages = await loadPages(head, this.#list?.pages ?? [], this.#pagesOf(found));
    if (found.isNews) await this.remember(found);
    const list = new PagedList(head, mark, pages, this.#parsed);
    const last = this.#list;
    // Reads may end in another order than they began.
    if (last !== null && this.#isNewer(last.head, head)) return last;
    if (list.isWhole) this.#lagSinceMs = null;
    else if (last?.isWhole && this.#mayLag()) return last.without(head);
    this.#list = list;
    this.#last = found.rest.length === 0 ? found : null;
    return list;
  }

  /** Whether head `a` is newer than head `b`. Both are sealed by an owner. */
  #isNewer(a: ListHead, b: ListHead): boolean {
    const [first, second] = [a, b].map(({ owner }) =>
      this.#trust.owners.findIndex((key) => toBase64Url(key) === owner),
    ) as [number, number];
    return first === second ? a.revision > b.revision : first > second;
  }

  /** Whether the last list, with the newest revocations, is still valid while pages of a newer list are missing. */
  #mayLag(): boolean {
    if (!this.#source.isEventual) return false;
    this.#lagSinceMs ??= performance.now();
    return performance.now() - this.#lagSinceMs <= 1000 * (this.#source.lagSeconds ?? 0);
  }

  /**
   * The stored head, checked against the owner's key and what was seen.
   *
   * @param known what an earlier call returned
   * @returns null if the head is still the same, and nothing newer was seen since
   */
  async find(known: FoundHead | null = null, answered?: () => void): Promise<FoundHead | null> {
    const { owners, list, minRevision = 0 } = this.#trust;
    // This record is read first: a writer writes the list before it records the revision, so a list that is older than the record
    // really is old.
    const seen = await this.#seen.read(list);
    const all = await this.#source.read();
    answered?.();
    const { absent } = this.#advice;
    if (all === null && this.#source.isEventual)
      throw new AmeshError(SERVER_CODES.allow_list_unavailable, absent.detail, absent);
    if (all === null) throw new AllowListIntegrityError(absent.detail, absent);
    const [bytes, beginning] = splitHead(all, MAX_HEAD_BYTES + 1);
    if (known !== null && beginning.length === 0 && equalBytes(bytes, known.bytes)) {
      await this.#assertOrder(known, seen); // another process may have seen a newer one
      return null;
    }
    const opened = await openHead(bytes, owners, list);
    if (beginning.length > 0 && opened.head.pages.every(({ content }) => typeof content !== 'string'))
      throw new AllowListIntegrityError(
        'The allow list is followed by something that does not belong to it.',
      );
    if (opened.head.revision < minRevision) {
      throw this.#older(`revision ${opened.head.revision}, but AMESH_MIN_REVISION is ${minRevision}`);
    }
    const isNews = await this.#assertOrder(opened, seen);
    if (all.length <= MAX_HEAD_BYTES || this.#source.readWhole === undefined)
      return { ...opened, bytes, rest: beginning, isNews };
    const whole = await this.#source.readWhole(bytes.length + opened.head.pages.length * MAX_PAGE_BYTES);
    const [again, rest] = splitHead(whole ?? new Uint8Array(), MAX_HEAD_BYTES + 1);
    // If the head has changed in between, it must be opened first.
    return equalBytes(again, bytes) ? { ...opened, bytes, rest, isNews } : this.find();
  }

  /** The valid pages that follow a head in the same text. */
  async pagesBehind(found: FoundHead): Promise<ReadonlyMap<string, Uint8Array>> {
    if (found.rest.length === 0) return new Map();
    const pages = await loadPages(found.head, [], this.#pagesOf(found));
    return new Map(
      pages.flatMap(({ hash, content }) =>
        hash === null || 'error' in content ? [] : [[hash, content.bytes] as const],
      ),
    );
  }

  async remember({ head: { revision, owner }, mark }: OpenedHead): Promise<void> {
    const { list } = this.#trust;
    const former = this.#seen.formerOwners(owner, await this.#seen.read(list));
    await this.#seen.remember(list, { revision, owner, mark, ...(former.length > 0 && { former }) });
  }

  async readPage(hash: string, prefix: string, found: FoundHead): Promise<Uint8Array> {
    const [bytes = null] = await this.#pagesOf(found)([hash]);
    const { content } = await checkPage(bytes, hash, prefix);
    if ('error' in content) throw content.error;
    return content.bytes;
  }

  /** Reads missing pages again: they may have arrived. */
  async #mend(list: PagedList): Promise<PagedList> {
    if (list.isWhole) return list;
    const pages = await loadPages(list.head, list.pages, this.#source.readPages ?? readNone);
    if (pages.every((page, i) => isSameContent(page, list.pages[i] as Page))) return list;
    if (this.#list !== null && this.#list !== list) return this.#list; // another read was faster
    this.#list = new PagedList(list.head, list.mark, pages, this.#parsed);
    if (this.#list.isWhole) this.#lagSinceMs = null;
    return this.#list;
  }

  #pagesOf({ head, rest }: FoundHead): ReadPages {
    if (rest.length === 0) return this.#source.readPages ?? readNone;
    const named = head.pages.filter(({ content }) => typeof content === 'string');
    const cut = cutPages(
      rest,
      named.map(({ prefix }) => prefix),
    );
    const byHash = new Map(named.map(({ content }, i) => [content as string, cut[i] as Uint8Array]));
    return async (hashes) => hashes.map((hash) => byHash.get(hash) ?? null);
  }

  async #assertOrder(opened: OpenedHead, seen: Seen | null): Promise<boolean> {
    const order = compareWithSeen(opened, seen, this.#trust.owners, this.#trust.returned);
    if (order === 'newer' || order === 'same' || seen === null) return order === 'newer';
    const { revision } = opened.head;
    if (order === 'too-far') {
      throw new AllowListIntegrityError(
        `The allow list has revision ${revision}, which is more than ${MAX_JUMP} above the revision ${seen.revision} that this machine has seen.`,
        this.#advice.tooFar ?? this.#advice.other,
      );
    }
    await this.#advice.assertNotSetBack?.(opened, seen);
    if (order === 'older')
      throw this.#older(`revision ${revision}, but this machine has seen ${seen.revision}`);
    throw new AllowListIntegrityError(
      `There are two different allow lists of revision ${revision}.`,
      this.#advice.other,
    );
  }

  #older(how: string): AmeshError {
    if (this.#source.isEventual) {
      const detail = `The store still has an older allow list: ${how}.`;
      return new AmeshError(SERVER_CODES.allow_list_unavailable, detail);
    }
    return new AllowListIntegrityError(`The allow list is an older copy: ${how}.`, this.#advice.older);
  }
}

async function readNone(hashes: readonly string[]): Promise<null[]> {
  return hashes.map(() => null);
}

function isSameContent(a: Page, b: Page): boolean {
  return a === b || ('error' in a.content && 'error' in b.content);
}
