import type { MaybePromise } from '../../core/crypto/provider';
import type { AllowList, AllowListSource } from '../../core/devices/allow-list';

/** How long an answer counts before the store's stamp is looked at again. A revocation counts within a second. */
const CHECK_EVERY_MS = 250;

/**
 * The allow list in memory, read anew when its store has changed. A failure counts as long as any other answer, so
 * that many requests are not as many reads, and no longer: once the list is repaired, the server goes on without a restart.
 */
export class LiveList implements AllowListSource {
  #list: AllowList | null = null;
  #failure: { readonly error: unknown } | null = null;
  #stamp = '';
  #checkedAt = Number.NEGATIVE_INFINITY;
  #loading: Promise<AllowList> | null = null;

  /**
   * @param load reads the list
   * @param stamp a cheap token that differs whenever the list may
   */
  constructor(
    private readonly load: () => Promise<AllowList>,
    private readonly stamp: () => string,
  ) {}

  /** @throws what `load` throws */
  current(): MaybePromise<AllowList> {
    if (this.#loading !== null) return this.#loading;
    // The wall clock can be set back, and would stop the checks.
    const isRecent = performance.now() - this.#checkedAt < CHECK_EVERY_MS;
    if (isRecent && this.#failure !== null) throw this.#failure.error;
    if (isRecent && this.#list !== null) return this.#list;
    // Taken before the list is read: what changes while it is being read is found at the next check.
    const stamp = this.stamp();
    this.#checkedAt = performance.now();
    if (this.#list !== null && stamp === this.#stamp) return this.#list;
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
          this.#checkedAt = performance.now(); // a key that does not open takes its time, too
          throw error;
        },
      )
      .finally(() => {
        this.#loading = null;
      });
    return this.#loading;
  }
}
