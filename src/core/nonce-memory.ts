import { NonceStoreUnavailableError } from './errors';

/**
 * Remembers nonces for as long as a request could be replayed.
 *
 * @see docs/protocol.md, "Nonces"
 */
export interface NonceStore {
  /**
   * Claims a nonce, atomically among all that share the store.
   *
   * @param deviceId whose nonce; 19 characters
   * @param nonce 22 base64url characters
   * @param keepUntilMs until when the claim has to last, Unix milliseconds
   * @returns true the first time, false where somebody has claimed it before
   * @throws where it cannot tell; the request is then refused with 503 `nonce_store_unavailable`
   */
  claim(deviceId: string, nonce: string, keepUntilMs: number): boolean | Promise<boolean>;
  /**
   * Unix seconds. A store that forgets when its process ends says since when it remembers; requests created earlier
   * are refused, so that a restart opens no hole.
   */
  readonly startedAt?: number | undefined;
}

export interface InMemoryNonceStoreOptions {
  /** The most live nonces it holds, 2 to 10,000,000; default 1,000,000, which take some 90 MB. */
  readonly capacity?: number;
  /** Unix seconds; default: now, rounded down. For tests under a fixed clock. */
  readonly startedAt?: number;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: () => number;
}

/** Nonces of one span of time. It is dropped as a whole, so that nothing ever scans a million entries. */
interface Generation {
  readonly shards: readonly Set<string>[];
  readonly counts: Map<string, number>;
  size: number;
  bornMs: number;
  /** No nonce in it has to be kept longer than this. */
  untilMs: number;
}

// A large set stops the process for tens of milliseconds when it grows; many small ones do not.
const SHARDS = 256;
const MIN_SPAN_MS = 10_000;

/**
 * A {@link NonceStore} for one process. Bounded: when full it refuses and never forgets a live nonce, and no device
 * may hold more than half of it.
 */
export class InMemoryNonceStore implements NonceStore {
  readonly startedAt: number;
  readonly #capacity: number;
  readonly #now: () => number;
  #current: Generation;
  #previous: Generation;

  /** @throws TypeError for an option out of range */
  constructor(options: InMemoryNonceStoreOptions = {}) {
    const { capacity = 1_000_000, now = Date.now } = options;
    if (!Number.isInteger(capacity) || capacity < 2 || capacity > 10_000_000) {
      throw new TypeError('capacity is a whole number from 2 to 10,000,000.');
    }
    this.#capacity = capacity;
    this.#now = now;
    this.startedAt = options.startedAt ?? Math.floor(now() / 1000);
    if (!Number.isSafeInteger(this.startedAt)) throw new TypeError('startedAt is in whole Unix seconds.');
    this.#current = newGeneration(now());
    this.#previous = newGeneration(now());
  }

  /** How many nonces it holds, expired ones that are not dropped yet included. */
  get size(): number {
    return this.#current.size + this.#previous.size;
  }

  claim(deviceId: string, nonce: string, keepUntilMs: number): boolean {
    const nowMs = this.#now();
    this.#rotate(nowMs);
    const key = keyOf(deviceId, nonce);
    const shard = shardOf(nonce);
    const current = this.#current;
    if (this.#previous.shards[shard]?.has(key) || current.shards[shard]?.has(key)) return false;

    const held = (current.counts.get(deviceId) ?? 0) + (this.#previous.counts.get(deviceId) ?? 0);
    if (this.size >= this.#capacity) throw new NonceStoreUnavailableError('The nonce store is full.');
    if (held >= this.#capacity / 2) {
      throw new NonceStoreUnavailableError('One device fills half of the nonce store.');
    }
    current.shards[shard]?.add(key);
    current.counts.set(deviceId, (current.counts.get(deviceId) ?? 0) + 1);
    current.size++;
    if (keepUntilMs > current.untilMs) current.untilMs = keepUntilMs;
    return true;
  }

  #rotate(nowMs: number): void {
    if (nowMs <= this.#previous.untilMs || nowMs - this.#current.bornMs < MIN_SPAN_MS) return;
    this.#previous = this.#current;
    this.#current = newGeneration(nowMs);
  }
}

function newGeneration(nowMs: number): Generation {
  const shards = Array.from({ length: SHARDS }, () => new Set<string>());
  return { shards, counts: new Map(), size: 0, bornMs: nowMs, untilMs: 0 };
}

function shardOf(nonce: string): number {
  return (nonce.charCodeAt(0) * 31 + nonce.charCodeAt(1)) % SHARDS;
}

/** Made of character codes: a part of a header, or a joined string, would keep the whole header alive in V8. */
function keyOf(deviceId: string, nonce: string): string {
  const text = `${deviceId} ${nonce}`;
  const codes = new Array<number>(text.length);
  for (let i = 0; i < text.length; i++) codes[i] = text.charCodeAt(i);
  return String.fromCharCode(...codes);
}
