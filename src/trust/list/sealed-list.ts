import { cryptoProvider } from '#crypto';
import type { MaybePromise } from '../../core/crypto/provider';
import { type AllowList, type AllowListSource, deviceIdOf } from '../../core/devices/allow-list';
import { AllowListIntegrityError, AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { within } from '../../core/within';
import { hashDocument, openDocument } from './seal';
import { toAllowList } from './to-allow-list';

/** How long a failed or unfinished read blocks the next one, so that many requests do not cause many reads. */
const RETRY_MS = 1000;
/** How long a request waits for a read. */
const PATIENCE_MS = 5000;

export interface SealedListOptions {
  /** Returns the bytes of the document, or null if there is none; called again while the list is in use. */
  readonly read: () => Promise<Uint8Array | null>;
  /** The public key that must have sealed it: a compressed point, 33 bytes. */
  readonly owner: Uint8Array;
  /** The device ID of the target that the list must belong to; default: the owner's. */
  readonly list?: string | undefined;
  /** How long the last list stays valid while it cannot be read. Seconds; `Infinity` for a list that never changes. */
  readonly maxStaleSeconds: number;
  /** A monotonic clock in milliseconds; default `performance.now`. */
  readonly now?: (() => number) | undefined;
}

/**
 * An allow list that another machine seals and copies to this one, possibly late. It is read about six times within
 * `maxStaleSeconds`. A revision older than one seen counts as a failed read.
 *
 * Requests share no promise: a Worker cancels the work that a request started when that request ends. So a read counts
 * only when it is complete: strangers who start reads and disconnect cannot suppress a revocation.
 */
export class SealedList implements AllowListSource {
  readonly #options: SealedListOptions;
  readonly #now: () => number;
  #list: AllowList | null = null;
  #revision = 0;
  #hash = '';
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
    const { read, owner } = this.#options;
    const list = this.#options.list ?? (await deviceIdOf(owner, cryptoProvider));
    const bytes = await within(PATIENCE_MS, read, silent);
    if (bytes === null) {
      throw new AmeshError(SERVER_CODES.allow_list_unavailable, 'The store has no allow list.', {
        fix: "Put allow_list.json there, from the owner's AUTH_MESH_DIR.",
      });
    }
    const document = await openDocument(bytes, owner, list);
    const { revision } = document;
    const hash = await hashDocument(bytes);
    if (revision < this.#revision) {
      throw new AmeshError(
        SERVER_CODES.allow_list_unavailable,
        'The store returned an older allow list than before.',
      );
    }
    if (revision === this.#revision && hash !== this.#hash) {
      throw new AllowListIntegrityError(`There are two different allow lists of revision ${revision}.`);
    }
    if (hash !== this.#hash) this.#list = toAllowList(document);
    this.#revision = revision;
    this.#hash = hash;
    if (nowMs > this.#readAtMs) this.#readAtMs = nowMs; // two reads may end in either order
  }
}

function silent(): AmeshError {
  return new AmeshError(SERVER_CODES.allow_list_unavailable, 'The store of the allow list does not respond.');
}
