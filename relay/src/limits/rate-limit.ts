import { networksOf } from './address';
import { Deadlines } from './deadlines';

const MINUTE_MS = 60_000;
/** As many addresses as are remembered. Beyond, the one that was quiet for longest is forgotten. */
const MAX_ADDRESSES = 100_000;

/**
 * At most so many events of one address in any 60 seconds.
 *
 * When more addresses are about than it holds, it forgets the oldest: whoever has so many to spare has that many times
 * the limit anyway, and to refuse all others would be a gift to them.
 */
export class RateLimit {
  readonly #perMinute: number;
  readonly #maxAddresses: number;
  readonly #times = new Map<string, number[]>();
  readonly #quiet = new Deadlines<string>(MINUTE_MS);

  constructor(perMinute: number, maxAddresses = MAX_ADDRESSES) {
    this.#perMinute = perMinute;
    this.#maxAddresses = maxAddresses;
  }

  /** How many addresses it remembers. */
  get size(): number {
    return this.#times.size;
  }

  /** Whole seconds until the address may do it again; 0 where it may now. */
  retryAfter(address: string, nowMs: number): number {
    const times = this.#times.get(address);
    if (times === undefined || times.length < this.#perMinute) return 0;
    return Math.max(0, Math.ceil(((times[0] as number) + MINUTE_MS - nowMs) / 1000));
  }

  add(address: string, nowMs: number): void {
    const times = this.#times.get(address) ?? [];
    times.push(nowMs);
    if (times.length > this.#perMinute) times.shift();
    // As the newest again, so that the first is the one to forget.
    this.#times.delete(address);
    this.#times.set(address, times);
    this.#quiet.add(address, nowMs);
    if (this.#times.size > this.#maxAddresses) {
      const [oldest] = this.#times.keys();
      this.#times.delete(oldest as string);
      this.#quiet.delete(oldest as string);
    }
  }

  /** Makes the latest event of an address one that was none. */
  takeBack(address: string): void {
    const times = this.#times.get(address);
    times?.pop();
    if (times?.length !== 0) return;
    this.#times.delete(address);
    this.#quiet.delete(address);
  }

  /** Forgets the addresses that did nothing for a minute. */
  sweep(nowMs: number): void {
    for (const address of this.#quiet.take(nowMs)) this.#times.delete(address);
  }
}

/** How many times what an IPv6 /64 may, all of a /56 and of a /48 may: they cost their holder no more than that one. */
const NETWORK_FACTORS: readonly (readonly [RegExp, number])[] = [
  [/\/56$/, 4],
  [/\/48$/, 16],
];

/** At most so many events of one address in any 60 seconds, and not many more of all the addresses of one customer. */
export class NetworkRateLimit {
  readonly #ofAddresses: RateLimit;
  readonly #ofNetworks: readonly (readonly [RegExp, RateLimit])[];

  constructor(perMinute: number) {
    this.#ofAddresses = new RateLimit(perMinute);
    this.#ofNetworks = NETWORK_FACTORS.map(([of, factor]) => [of, new RateLimit(factor * perMinute)]);
  }

  /** How many addresses and networks it remembers. */
  get size(): number {
    return this.#limits.reduce((sum, { size }) => sum + size, 0);
  }

  /** Whole seconds until the address may do it again; 0 where it may now. */
  retryAfter(address: string, nowMs: number): number {
    return Math.max(...this.#of(address).map(([limit, key]) => limit.retryAfter(key, nowMs)));
  }

  add(address: string, nowMs: number): void {
    for (const [limit, key] of this.#of(address)) limit.add(key, nowMs);
  }

  /** Makes the latest event of an address one that was none. */
  takeBack(address: string): void {
    for (const [limit, key] of this.#of(address)) limit.takeBack(key);
  }

  sweep(nowMs: number): void {
    for (const limit of this.#limits) limit.sweep(nowMs);
  }

  get #limits(): RateLimit[] {
    return [this.#ofAddresses, ...this.#ofNetworks.map(([, limit]) => limit)];
  }

  #of(address: string): (readonly [RateLimit, string])[] {
    const networks = networksOf(address).slice(0, -1);
    return [
      [this.#ofAddresses, address],
      ...networks.flatMap((network) =>
        this.#ofNetworks.flatMap(([of, limit]) => (of.test(network) ? [[limit, network] as const] : [])),
      ),
    ];
  }
}
