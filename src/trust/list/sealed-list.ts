import { cryptoProvider } from '#crypto';
import type { MaybePromise } from '../../core/crypto/provider';
import { type AllowList, type AllowListSource, deviceIdOf } from '../../core/devices/allow-list';
import { AllowListIntegrityError, AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { within } from '../../core/within';
import { hashDocument, openDocument } from './seal';
import { toAllowList } from './to-allow-list';

/** How long a read that has failed, or has not ended, keeps others from another, so that many requests are not as many. */
const RETRY_MS = 1000;
/** How long a request waits for a read. */
const PATIENCE_MS = 5000;

export interface SealedListOptions {
  /** The bytes of the document, or null where there are none; asked again while the list is in use. */
  readonly read: () => Promise<Uint8Array | null>;
  /** The key that has to have sealed them: a compressed point, 33 bytes. */
  readonly owner: Uint8Array;
  /** The deviceId for which the list has to be; default: the owner's own. */
  readonly list?: string | undefined;
  /** For how long a list counts that cannot be read anew. Seconds; `Infinity` for one that never changes. */
  readonly maxStaleSeconds: number;
  /** A clock that only goes forward, milliseconds; default `performance.now`. */
  readonly now?: (() => number) | undefined;
}

/**
 * An allow list that another machine seals and puts where this one finds it, perhaps later than others do. It is read
 * anew six times within `maxStaleSeconds`; an older revision than one seen counts as no answer.
 *
 * No promise is shared between requests: a Worker cancels what a request has begun when that request is over. So a read
 * counts when it has ended: a stranger who begins them and goes away must not keep a revocation out.
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
   * @throws AllowListIntegrityError where it is not what its owner sealed; AmeshError `allow_list_unavailable` where it
   *   could not be read for too long
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
      throw new AmeshError(SERVER_CODES.allow_list_unavailable, 'The store holds no allow list.', {
        fix: 'Put allow_list.json there, as it lies in AUTH_MESH_DIR of its owner.',
      });
    }
    const document = await openDocument(bytes, owner, list);
    const { revision } = document;
    const hash = await hashDocument(bytes);
    if (revision < this.#revision) {
      throw new AmeshError(
        SERVER_CODES.allow_list_unavailable,
        'The store gives an older allow list than it did before.',
      );
    }
    if (revision === this.#revision && hash !== this.#hash) {
      throw new AllowListIntegrityError(`There are two allow lists of revision ${revision}.`);
    }
    if (hash !== this.#hash) this.#list = toAllowList(document);
    this.#revision = revision;
    this.#hash = hash;
    if (nowMs > this.#readAtMs) this.#readAtMs = nowMs; // reads of two requests may end in either order
  }
}

function silent(): AmeshError {
  return new AmeshError(SERVER_CODES.allow_list_unavailable, 'The store of the allow list does not answer.');
}
