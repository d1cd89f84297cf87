const MAX_NAMES = 10_000;

/** How often something may happen. */
export interface Rate {
  /** How often at once. */
  readonly burst: number;
  /** After each such time, it may happen once more; in milliseconds. */
  readonly everyMs: number;
}

/** Limits how often each device, or any other name, may do something that costs others. */
export class RateLimit {
  /** How much of the burst is used, and when that was counted, Unix milliseconds; the oldest first. */
  readonly #used = new Map<string, { readonly count: number; readonly atMs: number }>();

  readonly #rate: Rate;

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** @returns whether it may happen now; if so, it is counted */
  take(name: string, nowMs: number): boolean {
    const { burst, everyMs } = this.#rate;
    const { count, atMs } = this.#used.get(name) ?? { count: 0, atMs: nowMs };
    // Math.abs, so that nobody is locked out until the old time after the clock was set back.
    const left = Math.max(0, count - Math.abs(nowMs - atMs) / everyMs);
    if (left + 1 > burst) return false;
    this.#used.delete(name);
    if (this.#used.size >= MAX_NAMES) this.#used.delete(this.#used.keys().next().value as string);
    this.#used.set(name, { count: left + 1, atMs: nowMs });
    return true;
  }

  /** Takes back one {@link take}, if it did not happen after all. */
  giveBack(name: string): void {
    const used = this.#used.get(name);
    if (used !== undefined) this.#used.set(name, { ...used, count: used.count - 1 });
  }
}
