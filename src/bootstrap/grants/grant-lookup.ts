import { setTimeout as sleep } from 'node:timers/promises';
import type { AllowListSource } from '../../core/devices/allow-list';
import { AmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { readAllowList } from '../../core/verify/device';
import { PagedList } from '../../trust/format/paged-list';
import { findGrant } from '../../trust/grants';

/** The least time between two reads of the list that strangers with invented grants can cause. */
const LOOK_EVERY_MS = 250;

/** Finds grants in the list in memory. If one is missing, it reads the list, since the grant may be new. */
export class GrantLookup {
  readonly #list: AllowListSource;
  #look: Promise<void> | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(list: AllowListSource) {
    this.#list = list;
  }

  /** The list in memory. @throws AmeshError `allow_list_unavailable`, and what the source of the list throws */
  async current(): Promise<PagedList> {
    const list = await readAllowList(this.#list);
    if (!(list instanceof PagedList)) throw new AmeshError(SERVER_CODES.allow_list_unavailable);
    return list;
  }

  /** The list, which is read again if the grant is missing in memory. */
  async listWith(grantId: string): Promise<PagedList> {
    const known = await this.current();
    if (findGrant(known.head, grantId) !== undefined) return known;
    this.#look ??= this.#lookAgain();
    await this.#look;
    return this.current();
  }

  /** Reads the list once for all enrolments that wait, and not again for a while. */
  async #lookAgain(): Promise<void> {
    await sleep(Math.max(0, this.#lookedAtMs + LOOK_EVERY_MS - performance.now()));
    this.#lookedAtMs = performance.now();
    this.#look = undefined;
    this.#list.expire?.();
    await this.current();
  }
}
