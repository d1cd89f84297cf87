import { networksOf } from './address';

export interface FairShareOptions<T> {
  /** The most items at a time. */
  readonly places: number;
  /** The most bytes of all items together; default: no limit. */
  readonly bytes?: number;
  /** The most items of one address; default: as many as there are places. */
  readonly placesPerAddress?: number;
  /** The most bytes of the items of one address; default: as many as of all items together. */
  readonly bytesPerAddress?: number;
  /** Ends an item whose place was given to another. */
  readonly evict: (item: T) => void;
  /** The order in which the items of one address are evicted: lowest rank first, then oldest; default: only by age. */
  readonly rankOf?: (item: T) => number;
  /** Whether no client waits for this item. Such an item is evicted before a newcomer is refused; default: never. */
  readonly isIdle?: (item: T) => boolean;
}

/** The part of a share that metrics read. */
export type ShareUsage = Pick<FairShare<unknown>, 'size' | 'bytes' | 'evicted' | 'limits'>;

/** Why there is no place: all are taken, or the address has its maximum. */
export type LimitReached = 'capacity' | 'rate_limited';

type Measure = 'places' | 'bytes';

/** A network or an address, and how much it holds. */
interface Holder<T> {
  readonly key: string;
  readonly parent: Holder<T> | undefined;
  places: number;
  bytes: number;
  /** The networks or addresses in a network. An address has none. */
  readonly parts: Map<string, Holder<T>>;
  readonly items: Set<T>;
}

/**
 * A limited number of places, and of bytes, for strangers. When all are taken, a newcomer gets a place of the network that holds
 * most, if that network still holds at least as much as the network of the newcomer. See docs/decisions/032-relay-eviction.md.
 */
export class FairShare<T> {
  readonly #options: FairShareOptions<T>;
  readonly #root: Holder<T> = newHolder('', undefined);
  readonly #held = new Map<T, { readonly holder: Holder<T>; readonly bytes: number }>();
  #evicted = 0;

  constructor(options: FairShareOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#root.places;
  }

  get bytes(): number {
    return this.#root.bytes;
  }

  get evicted(): number {
    return this.#evicted;
  }

  get limits(): { readonly places: number; readonly bytes: number } {
    const { places, bytes = 0 } = this.#options;
    return { places, bytes };
  }

  /**
   * Makes space for one more item of this address, and evicts others if it must.
   *
   * @param address the key that limits count by
   * @returns the reason if there is no space
   */
  makeSpace(address: string, bytes = 0): LimitReached | undefined {
    const { places, bytes: maxBytes = Number.POSITIVE_INFINITY } = this.#options;
    if (!this.#makeOwnSpace(address, bytes)) return 'rate_limited';
    while (this.size + 1 > places) {
      if (!this.#evict(this.#victimFor(address, 'places', 1))) return 'capacity';
    }
    while (this.bytes + bytes > maxBytes) {
      if (!this.#evict(this.#victimFor(address, 'bytes', bytes))) return 'capacity';
    }
    return undefined;
  }

  add(item: T, address: string, bytes = 0): void {
    let holder = this.#root;
    for (const key of networksOf(address)) {
      let part = holder.parts.get(key);
      if (part === undefined) {
        part = newHolder(key, holder);
        holder.parts.set(key, part);
      }
      holder = part;
    }
    holder.items.add(item);
    this.#held.set(item, { holder, bytes });
    count(holder, 1, bytes);
  }

  /** Sets how many bytes an item now holds. */
  resize(item: T, bytes: number): void {
    const held = this.#held.get(item);
    if (held === undefined) return;
    count(held.holder, 0, bytes - held.bytes);
    this.#held.set(item, { holder: held.holder, bytes });
  }

  /** Frees the place of an item, if it has one. */
  remove(item: T): void {
    const held = this.#held.get(item);
    if (held === undefined) return;
    this.#held.delete(item);
    held.holder.items.delete(item);
    count(held.holder, -1, -held.bytes);
  }

  /** Evicts the items of rank 0 of an address that has its maximum. @returns whether that was enough */
  #makeOwnSpace(address: string, bytes: number): boolean {
    const { placesPerAddress = Number.POSITIVE_INFINITY, bytesPerAddress = Number.POSITIVE_INFINITY } =
      this.#options;
    const own = this.#find(address);
    while (own !== undefined && own.places + 1 > placesPerAddress) {
      const first = this.#firstOf(own);
      if (first === undefined || this.#rank(first) > 0 || !this.#evict(first)) return false;
    }
    return (own?.bytes ?? 0) + bytes <= bytesPerAddress;
  }

  /** The item to evict for a newcomer of this address; undefined if the newcomer must be refused. */
  #victimFor(address: string, measure: Measure, amount: number): T | undefined {
    let holder = this.#root;
    for (const key of networksOf(address)) {
      const own = holder.parts.get(key);
      const largest = largestOf(holder, measure);
      if (largest !== undefined && largest !== own) {
        const most = largest[measure];
        const ownAfterwards = (own?.[measure] ?? 0) + amount;
        const first = this.#firstIn(largest, measure);
        if (most > ownAfterwards) return first;
        if (most === ownAfterwards && first !== undefined && this.#isIdle(first)) return first;
      }
      if (own === undefined) return undefined;
      holder = own;
    }
    const first = this.#firstOf(holder);
    return first !== undefined && this.#isIdle(first) ? first : undefined;
  }

  /** The first item to evict in a network. */
  #firstIn(holder: Holder<T>, measure: Measure): T | undefined {
    let largest: Holder<T> | undefined = holder;
    while (largest !== undefined && largest.parts.size > 0) largest = largestOf(largest, measure);
    return largest === undefined ? undefined : this.#firstOf(largest);
  }

  /** The first item to evict of an address. */
  #firstOf({ items }: Holder<T>): T | undefined {
    let first: T | undefined;
    for (const item of items) {
      if (first === undefined || this.#rank(item) < this.#rank(first)) first = item;
    }
    return first;
  }

  #rank(item: T): number {
    return this.#options.rankOf?.(item) ?? 1;
  }

  #isIdle(item: T): boolean {
    return this.#options.isIdle?.(item) ?? false;
  }

  #find(address: string): Holder<T> | undefined {
    let holder: Holder<T> | undefined = this.#root;
    for (const key of networksOf(address)) holder = holder?.parts.get(key);
    return holder;
  }

  #evict(item: T | undefined): boolean {
    if (item === undefined) return false;
    this.#evicted++;
    this.remove(item);
    this.#options.evict(item);
    return true;
  }
}

function newHolder<T>(key: string, parent: Holder<T> | undefined): Holder<T> {
  return { key, parent, places: 0, bytes: 0, parts: new Map(), items: new Set() };
}

/** Adds to what an address and its networks hold, and removes entries that hold nothing. */
function count<T>(address: Holder<T>, places: number, bytes: number): void {
  for (let holder: Holder<T> | undefined = address; holder !== undefined; holder = holder.parent) {
    holder.places += places;
    holder.bytes += bytes;
    if (holder.places === 0) holder.parent?.parts.delete(holder.key);
  }
}

function largestOf<T>({ parts }: Holder<T>, measure: Measure): Holder<T> | undefined {
  let largest: Holder<T> | undefined;
  for (const part of parts.values()) {
    if (largest === undefined || part[measure] > largest[measure]) largest = part;
  }
  return largest;
}
