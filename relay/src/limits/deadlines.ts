/**
 * Items that are due a fixed time after they were added. The time is the same for all, so they become due in the order in
 * which they were added. Nothing is ever searched.
 */
export class Deadlines<T> {
  readonly #dueAtMs = new Map<T, number>();
  readonly #afterMs: number;

  constructor(afterMs: number) {
    this.#afterMs = afterMs;
  }

  get size(): number {
    return this.#dueAtMs.size;
  }

  /** Adds an item, or restarts its time. */
  add(item: T, nowMs: number): void {
    this.#dueAtMs.delete(item);
    this.#dueAtMs.set(item, nowMs + this.#afterMs);
  }

  delete(item: T): void {
    this.#dueAtMs.delete(item);
  }

  /** Removes and returns the item that is due next. */
  takeFirst(): T | undefined {
    const [first] = this.#dueAtMs.keys();
    if (first !== undefined) this.#dueAtMs.delete(first);
    return first;
  }

  /** Removes and returns the items that are due. */
  *take(nowMs: number): Generator<T> {
    for (const [item, dueAtMs] of this.#dueAtMs) {
      if (dueAtMs > nowMs) return;
      this.#dueAtMs.delete(item);
      yield item;
    }
  }
}
