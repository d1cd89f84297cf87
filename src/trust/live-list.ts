import type { AllowList, AllowListSource } from '../core/allow-list';
import type { MaybePromise } from '../core/crypto/provider';

/** How long an answer counts before the store's stamp is looked at again. A revocation counts within a second. */
const CHECK_EVERY_MS = 250;

/**
 * The allow list in memory, read anew when its store has changed. A failure is not remembered: whoever mends the
 * list need not restart the server.
 */
export class LiveList implements AllowListSource {
  #list: AllowList | null = null;
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

  current(): MaybePromise<AllowList> {
    if (this.#loading !== null) return this.#loading;
    const now = performance.now(); // the wall clock can be set back, and would stop the checks
    if (this.#list !== null && now - this.#checkedAt < CHECK_EVERY_MS) return this.#list;
    const stamp = this.stamp();
    this.#checkedAt = now;
    if (this.#list !== null && stamp === this.#stamp) return this.#list;
    return this.#reload(stamp);
  }

  #reload(stamp: string): Promise<AllowList> {
    this.#list = null;
    this.#loading = this.load()
      .then((list) => {
        this.#list = list;
        this.#stamp = stamp;
        return list;
      })
      .finally(() => {
        this.#loading = null;
      });
    return this.#loading;
  }
}
