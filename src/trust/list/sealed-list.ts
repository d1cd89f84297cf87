import { verifyingCrypto } from '#crypto';
import type { MaybePromise } from '../../core/crypto/provider';
import { type AllowList, type AllowListSource, deviceIdOf } from '../../core/devices/allow-list';
import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { within } from '../../core/within';
import type { ReadPages } from '../format/load-pages';
import { type ListAdvice, ListReader } from './list-reader';
import { SeenInMemory } from './seen-in-memory';

/** How long a failed or unfinished read blocks the next one, so that many requests do not cause many reads. */
const RETRY_MS = 1000;
/** How long a request waits for a read. */
const PATIENCE_MS = 5000;

const AGAIN = {
  fix: 'Put the newest list of its owner there: what this command prints on the machine of the owner',
  command: ['amesh', 'list', '--export'],
};

const ADVICE: ListAdvice = {
  absent: { detail: 'The store has no allow list.', ...AGAIN },
  older: AGAIN,
  other: AGAIN,
};

export interface SealedListOptions {
  /** Returns the bytes of the head or of a whole list; null if there are none. Called again and again while the list is in use. */
  readonly read: () => Promise<Uint8Array | null>;
  /** Returns the pages by their hashes. Absent if `read` has to return the whole list. */
  readonly readPages?: ReadPages | undefined;
  /** The key that must have sealed the list, and the next one if there is one: compressed points, 33 bytes. */
  readonly owners: readonly Uint8Array[];
  /** A list with a lower revision is refused; default 0. */
  readonly minRevision?: number | undefined;
  /** The deviceId of the device that the list must belong to; default: that of the first owner. */
  readonly list?: string | undefined;
  /** How long the last list stays valid while the list cannot be read. Seconds; `Infinity` for a list that never changes. */
  readonly maxStaleSeconds: number;
  /** A monotonic clock in milliseconds; default `performance.now`. */
  readonly now?: (() => number) | undefined;
}

/**
 * An allow list that another machine seals and copies to this one, possibly with a delay. It is read about six times within
 * `maxStaleSeconds`. A revision that is older than one that was seen counts as a failed read.
 *
 * Requests share no promise: when a request ends, a Worker cancels the work that it started. So a read counts only when it is
 * complete, and strangers who start reads and disconnect cannot suppress a revocation.
 */
export class SealedList implements AllowListSource {
  readonly #options: SealedListOptions;
  readonly #now: () => number;
  #reader: ListReader | null = null;
  #list: AllowList | null = null;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #nextAtMs = Number.NEGATIVE_INFINITY;
  #failure: { readonly error: unknown } | null = null;

  constructor(options: SealedListOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * @throws AllowListIntegrityError if it is not what its owner sealed; AmeshError `allow_list_unavailable` if it could not
   *   be read for too long
   */
  current(): MaybePromise<AllowList> {
    const nowMs = this.#now();
    const isDecided = this.#failure !== null || this.#isFresh(nowMs);
    return nowMs < this.#nextAtMs && isDecided ? this.#answer(nowMs) : this.#refresh(nowMs);
  }

  #isFresh(nowMs: number): boolean {
    return this.#list !== null && nowMs - this.#readAtMs <= this.#options.maxStaleSeconds * 1000;
  }

  #answer(nowMs: number): AllowList {
    const error = this.#failure?.error;
    if (isAmeshError(error) && error.code === 'allow_list_integrity_failure') throw error;
    if (this.#list !== null && this.#isFresh(nowMs)) return this.#list;
    if (isAmeshError(error)) throw error;
    throw new AmeshError(SERVER_CODES.allow_list_unavailable, undefined, { cause: error });
  }

  async #refresh(nowMs: number): Promise<AllowList> {
    const everyMs = (this.#options.maxStaleSeconds * 1000) / 6;
    this.#nextAtMs = nowMs + Math.min(everyMs, RETRY_MS);
    try {
      await this.#read(nowMs);
      this.#failure = null;
      this.#nextAtMs = Math.max(this.#nextAtMs, nowMs + everyMs);
    } catch (error) {
      this.#failure = { error };
    }
    return this.#answer(this.#now());
  }

  async #read(nowMs: number): Promise<void> {
    const [owner] = this.#options.owners;
    const list = this.#options.list ?? (await deviceIdOf(owner as Uint8Array, verifyingCrypto));
    this.#reader ??= this.#openReader(list);
    this.#list = await this.#reader.read();
    if (nowMs > this.#readAtMs) this.#readAtMs = nowMs; // reads of two requests may end in either order
  }

  #openReader(list: string): ListReader {
    const { read, readPages, owners, minRevision, maxStaleSeconds } = this.#options;
    const source = {
      read: () => within(PATIENCE_MS, read, silent),
      readPages:
        readPages && ((hashes: readonly string[]) => within(PATIENCE_MS, () => readPages(hashes), silent)),
      isEventual: true,
      lagSeconds: maxStaleSeconds,
    };
    const seen = new SeenInMemory(owners);
    return new ListReader(source, { owners, list, minRevision }, seen, ADVICE);
  }
}

function silent(): AmeshError {
  return new AmeshError(SERVER_CODES.allow_list_unavailable, 'The store of the allow list does not respond.');
}
