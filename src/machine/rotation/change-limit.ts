const MAX_DEVICES = 10_000;

/** How often a device may change its keys. */
export interface ChangeRate {
  /** How many changes come at once. */
  readonly burst: number;
  /** One more may follow after each of these, in milliseconds. */
  readonly everyMs: number;
}

/**
 * Limits how often a device changes its keys: each change writes the list, and leaves an entry in it for a time. A trusted
 * device must not fill it.
 */
export class ChangeLimit {
  /** What is used of the burst, and when that was counted, Unix milliseconds; the oldest first. */
  readonly #used = new Map<string, { readonly count: number; readonly atMs: number }>();

  readonly #rate: ChangeRate;

  constructor(rate: ChangeRate) {
    this.#rate = rate;
  }

  /** @returns whether the device may change its keys now, which then counts */
  take(deviceId: string, nowMs: number): boolean {
    const { burst, everyMs } = this.#rate;
    const { count, atMs } = this.#used.get(deviceId) ?? { count: 0, atMs: nowMs };
    // By Math.abs, so that a clock that is set back locks nobody out until the old time.
    const left = Math.max(0, count - Math.abs(nowMs - atMs) / everyMs);
    if (left + 1 > burst) return false;
    this.#used.delete(deviceId);
    if (this.#used.size >= MAX_DEVICES) this.#used.delete(this.#used.keys().next().value as string);
    this.#used.set(deviceId, { count: left + 1, atMs: nowMs });
    return true;
  }
}
