import { networksOf } from './address';

export interface ShareOptions<T> {
  /** How many there may be at once. */
  readonly places: number;
  /** How many bytes all of them may hold; default: they are not counted. */
  readonly bytes?: number;
  /** What one address may have of it; default: no less than all. */
  readonly placesPerAddress?: number;
  readonly bytesPerAddress?: number;
  /** Takes it away from its owner. */
  readonly evict: (item: T) => void;
  /** Which goes first among those of one address: the lowest rank, then the oldest; default: all have the same. */
  readonly rankOf?: (item: T) => number;
  /** Whether nobody is connected who waits for it. It then goes before others are refused; default: there is none such. */
  readonly isIdle?: (item: T) => boolean;
}

/** What is told of a share. */
export type Shared = Pick<Share<unknown>, 'size' | 'bytes' | 'evicted' | 'limits'>;

type Measure = 'places' | 'bytes';

/** A network or an address, and what it holds. */
interface Holder<T> {
  readonly key: string;
  readonly parent: Holder<T> | undefined;
  places: number;
  bytes: number;
  /** The networks or addresses in it. An address has none. */
  readonly parts: Map<string, Holder<T>>;
  readonly items: Set<T>;
}

/**
 * Places that strangers take, a limited number, and bytes that they may hold. When all are taken, a newcomer gets the
 * place of the network that holds most, where that one still has as much as the newcomer afterwards. See
 * docs/decisions/032-who-gives-way.md.
 */
export class Share<T> {
  readonly #options: ShareOptions<T>;
  readonly #root: Holder<T> = newHolder('', undefined);
  readonly #held = new Map<T, { readonly holder: Holder<T>; readonly bytes: number }>();
  #evicted = 0;

  constructor(options: ShareOptions<T>) {
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
   * Makes room for one more of this address, at the cost of others where it must be.
   *
   * @param address what limits count by
   * @returns why there is none
   */
  makeRoom(address: string, bytes = 0): 'capacity' | 'rate_limited' | undefined {
    const { places, bytes: maxBytes = Number.POSITIVE_INFINITY } = this.#options;
    if (!this.#makeOwnRoom(address, bytes)) return 'rate_limited';
    while (this.size + 1 > places) if (!this.#evict(this.#rivalOf(address, 'places', 1))) return 'capacity';
    while (this.bytes + bytes > maxBytes) {
      if (!this.#evict(this.#rivalOf(address, 'bytes', bytes))) return 'capacity';
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

  /** It holds this many bytes from now on. */
  resize(item: T, bytes: number): void {
    const held = this.#held.get(item);
    if (held === undefined) return;
    count(held.holder, 0, bytes - held.bytes);
    this.#held.set(item, { holder: held.holder, bytes });
  }

  /** Frees its place; nothing where it has none. */
  remove(item: T): void {
    const held = this.#held.get(item);
    if (held === undefined) return;
    this.#held.delete(item);
    held.holder.items.delete(item);
    count(held.holder, -1, -held.bytes);
  }

  /** An address that has all that it may have gives up what is of no use to it. */
  #makeOwnRoom(address: string, bytes: number): boolean {
    const { placesPerAddress = Number.POSITIVE_INFINITY, bytesPerAddress = Number.POSITIVE_INFINITY } =
      this.#options;
    const own = this.#find(address);
    while (own !== undefined && own.places + 1 > placesPerAddress) {
      const first = this.#firstOf(own);
      if (first === undefined || this.#rank(first) > 0 || !this.#evict(first)) return false;
    }
    return (own?.bytes ?? 0) + bytes <= bytesPerAddress;
  }

  /** What has to go for a newcomer of this address; undefined where the newcomer has to. */
  #rivalOf(address: string, measure: Measure, amount: number): T | undefined {
    let holder = this.#root;
    for (const key of networksOf(address)) {
      const own = holder.parts.get(key);
      const largest = largestOf(holder, measure);
      if (largest !== undefined && largest !== own) {
        const most = largest[measure];
        const later = (own?.[measure] ?? 0) + amount;
        const first = this.#firstIn(largest, measure);
        if (most > later) return first;
        if (most === later && first !== undefined && this.#isIdle(first)) return first;
      }
      if (own === undefined) return undefined;
      holder = own;
    }
    const first = this.#firstOf(holder);
    return first !== undefined && this.#isIdle(first) ? first : undefined;
  }

  #firstIn(holder: Holder<T>, measure: Measure): T | undefined {
    let largest: Holder<T> | undefined = holder;
    while (largest !== undefined && largest.parts.size > 0) largest = largestOf(largest, measure);
    return largest === undefined ? undefined : this.#firstOf(largest);
  }

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

/** Counts for an address and all networks that it is in, and forgets those that hold nothing. */
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
