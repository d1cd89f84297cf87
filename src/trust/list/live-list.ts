import type { MaybePromise } from '../../core/crypto/provider';
import type { AllowList, AllowListSource } from '../../core/devices/allow-list';

/** How long a list, or a failure, is used before the store's stamp is checked again. A revocation takes effect within a second. */
const CHECK_EVERY_MS = 250;

/** A list that may lack pages. They are read again even if the stamp of the store has not changed. */
type LoadedList = AllowList & {
  /** Whether all its pages are there and valid; default true. */
  readonly isWhole?: boolean;
};

/**
 * The allow list in memory, read again when its store changes. A failure is kept for as long as a list is, so that a burst of
 * requests does not cause a burst of reads. After a repair the server continues without a restart.
 */
export class LiveList implements AllowListSource {
  #list: LoadedList | null = null;
  #failure: { readonly error: unknown } | null = null;
  #stamp = '';
  #checkedAt = Number.NEGATIVE_INFINITY;
  #loading: Promise<AllowList> | null = null;

  /**
   * @param load reads the list
   * @param stamp returns a cheap token that changes whenever the list may have changed
   */
  constructor(
    private readonly load: () => Promise<LoadedList>,
    private readonly stamp: () => string,
  ) {}

  /** @throws what `load` throws */
  current(): MaybePromise<AllowList> {
    if (this.#loading !== null) return this.#loading;
    // This does not use the wall clock: setting that back would stop the checks.
    const isRecent = performance.now() - this.#checkedAt < CHECK_EVERY_MS;
    if (isRecent && this.#failure !== null) throw this.#failure.error;
    if (isRecent && this.#list !== null) return this.#list;
    // The stamp is taken before the read, so that the next check finds a change that happens during the read.
    const stamp = this.stamp();
    this.#checkedAt = performance.now();
    const isSame = this.#list !== null && stamp === this.#stamp;
    if (isSame && this.#list?.isWhole !== false) return this.#list as LoadedList;
    return this.#reload(stamp);
  }

  expire(): void {
    this.#checkedAt = Number.NEGATIVE_INFINITY;
  }

  #reload(stamp: string): Promise<AllowList> {
    this.#list = null;
    this.#failure = null;
    this.#loading = this.load()
      .then(
        (list) => {
          this.#list = list;
          this.#stamp = stamp;
          return list;
        },
        (error) => {
          this.#failure = { error };
          this.#checkedAt = performance.now(); // set again, since failing to open a key can be slow
          throw error;
        },
      )
      .finally(() => {
        this.#loading = null;
      });
    return this.#loading;
  }
}
