import { networksOf } from './address';
import { Deadlines } from './deadlines';

const MINUTE_MS = 60_000;
/** How many addresses are remembered. Beyond that, the address whose last event is the oldest is forgotten. */
const MAX_ADDRESSES = 100_000;

/**
 * Allows each address a number of events in any 60 seconds.
 *
 * With more addresses than it can hold, it forgets the oldest. An attacker with so many addresses has so many times the limit
 * anyway, and refusing everybody else would only help the attacker.
 */
export class RateLimit {
  readonly #perMinute: number;
  readonly #maxAddresses: number;
  readonly #timesMs = new Map<string, number[]>();
  readonly #quiet = new Deadlines<string>(MINUTE_MS);

  constructor(perMinute: number, maxAddresses = MAX_ADDRESSES) {
    this.#perMinute = perMinute;
    this.#maxAddresses = maxAddresses;
  }

  /** How many addresses it remembers. */
  get size(): number {
    return this.#timesMs.size;
  }

  /** Whole seconds until the address is allowed another event; 0: now. */
  retryAfterSeconds(address: string, nowMs: number): number {
    const timesMs = this.#timesMs.get(address);
    if (timesMs === undefined || timesMs.length < this.#perMinute) return 0;
    return Math.max(0, Math.ceil(((timesMs[0] as number) + MINUTE_MS - nowMs) / 1000));
  }

  add(address: string, nowMs: number): void {
    const timesMs = this.#timesMs.get(address) ?? [];
    timesMs.push(nowMs);
    if (timesMs.length > this.#perMinute) timesMs.shift();
    // Deleted and set again, so that the map stays in the order of the latest event.
    this.#timesMs.delete(address);
    this.#timesMs.set(address, timesMs);
    this.#quiet.add(address, nowMs);
    if (this.#timesMs.size > this.#maxAddresses) {
      const [oldest] = this.#timesMs.keys();
      this.#timesMs.delete(oldest as string);
      this.#quiet.delete(oldest as string);
    }
  }

  /** Undoes the count of the latest event of an address. */
  takeBack(address: string): void {
    const timesMs = this.#timesMs.get(address);
    timesMs?.pop();
    if (timesMs?.length !== 0) return;
    this.#timesMs.delete(address);
    this.#quiet.delete(address);
  }

  /** Forgets the addresses without an event for a minute. */
  sweep(nowMs: number): void {
    for (const address of this.#quiet.take(nowMs)) this.#timesMs.delete(address);
  }
}

/** The limit of an IPv6 /56 and of a /48, as a multiple of the limit of a /64. A customer pays the same for any of them. */
const NETWORK_FACTORS: readonly (readonly [RegExp, number])[] = [
  [/\/56$/, 4],
  [/\/48$/, 16],
];

/** A rate limit for each address, and a wider one for all addresses of one customer. */
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

  /** Whole seconds until the address is allowed another event; 0: now. */
  retryAfterSeconds(address: string, nowMs: number): number {
    return Math.max(...this.#of(address).map(([limit, key]) => limit.retryAfterSeconds(key, nowMs)));
  }

  add(address: string, nowMs: number): void {
    for (const [limit, key] of this.#of(address)) limit.add(key, nowMs);
  }

  /** Undoes the count of the latest event of an address. */
  takeBack(address: string): void {
    for (const [limit, key] of this.#of(address)) limit.takeBack(key);
  }

  sweep(nowMs: number): void {
    for (const limit of this.#limits) limit.sweep(nowMs);
  }

  get #limits(): RateLimit[] {
    return [this.#ofAddresses, ...this.#ofNetworks.map(([, limit]) => limit)];
  }

  /** The limits that apply to an address, each with the key that it counts by. */
  #of(address: string): (readonly [RateLimit, string])[] {
    const networks = networksOf(address).slice(0, -1); // the last one is the address itself
    return [
      [this.#ofAddresses, address],
      ...networks.flatMap((network) =>
        this.#ofNetworks.flatMap(([of, limit]) => (of.test(network) ? [[limit, network] as const] : [])),
      ),
    ];
  }
}
