/**
 * Things that are due some fixed time after they were added. Since the time is the same for all, they are due in the
 * order in which they came: what is due stands in front, and nothing is ever searched.
 */
export class Deadlines<T> {
  readonly #due = new Map<T, number>();
  readonly #afterMs: number;

  constructor(afterMs: number) {
    this.#afterMs = afterMs;
  }

  get size(): number {
    return this.#due.size;
  }

  add(item: T, nowMs: number): void {
    this.#due.delete(item);
    this.#due.set(item, nowMs + this.#afterMs);
  }

  delete(item: T): void {
    this.#due.delete(item);
  }

  /** Gives what is due next, and forgets it. */
  takeFirst(): T | undefined {
    const [first] = this.#due.keys();
    if (first !== undefined) this.#due.delete(first);
    return first;
  }

  /** Gives what is due, and forgets it. */
  *take(nowMs: number): Generator<T> {
    for (const [item, dueMs] of this.#due) {
      if (dueMs > nowMs) return;
      this.#due.delete(item);
      yield item;
    }
  }
}
