/** How many bytes each item holds, and all items together. It keeps no entry for an item that holds none. */
export class HeldBytes<T> {
  readonly #held = new Map<T, number>();
  #total = 0;

  get total(): number {
    return this.#total;
  }

  set(item: T, bytes: number): void {
    this.#total += bytes - (this.#held.get(item) ?? 0);
    if (bytes > 0) this.#held.set(item, bytes);
    else this.#held.delete(item);
  }

  /** The item that holds most; undefined if no item holds any. */
  largest(): T | undefined {
    let largest: T | undefined;
    let most = 0;
    for (const [item, bytes] of this.#held) {
      if (bytes > most) [largest, most] = [item, bytes];
    }
    return largest;
  }
}
