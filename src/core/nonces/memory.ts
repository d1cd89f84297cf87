import { clockSetBack, NonceStoreUnavailableError } from '../errors/amesh-error';
import { assertOptionNames } from '../options';
import { INSTANCE_SKEW_MS, type NonceStore } from './nonce-store';
import { MAX_DEVICE_NUMBER, NonceTable, packEntry } from './table';

/** How much a memory store holds. */
export interface InMemoryNonceStoreOptions {
  /** The most live nonces it holds, 2 to 10,000,000; default 1,000,000, which take some 50 MB. */
  readonly capacity?: number | undefined;
  /** Unix seconds; default: now, rounded down. For tests under a fixed clock. */
  readonly startedAt?: number | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** Nonces of one span of time. It is dropped as a whole, so that nothing ever scans a million entries. */
interface Generation {
  readonly nonces: NonceTable;
  /** Each device's number, and how many nonces of it are here. */
  readonly devices: Map<string, { readonly number: number; count: number }>;
  readonly bornMs: number;
  /** No nonce in it has to be kept longer than this. */
  untilMs: number;
}

const NAMES: ReadonlySet<string> = new Set<keyof InMemoryNonceStoreOptions>(['capacity', 'startedAt', 'now']);
const MIN_SPAN_MS = 10_000;

/**
 * A {@link NonceStore} for one process. Bounded: when full it refuses and never forgets a live nonce, and no device
 * may hold more than half of it.
 */
export class InMemoryNonceStore implements NonceStore {
  #startedAt: number | null;
  readonly #capacity: number;
  readonly #now: () => number;
  #current: Generation;
  #previous: Generation;
  /** The latest moment until which a nonce that was dropped had to be kept. */
  #forgottenUntilMs = 0;
  /** The largest `clockSkewSeconds` of the verifiers that share this store. */
  #skewSeconds = 0;
  // One for all calls: it is filled anew in each, and nothing keeps it.
  readonly #entry = new Uint32Array(5);

  /** @throws TypeError for an unknown option, or one out of range */
  constructor(options: InMemoryNonceStoreOptions = {}) {
    assertOptionNames('new InMemoryNonceStore()', options, NAMES);
    const { capacity = 1_000_000, now = Date.now } = options;
    if (!Number.isInteger(capacity) || capacity < 2 || capacity > 10_000_000) {
      throw new TypeError('capacity is a whole number from 2 to 10,000,000.');
    }
    this.#capacity = capacity;
    this.#now = now;
    if (options.startedAt !== undefined && !Number.isSafeInteger(options.startedAt)) {
      throw new TypeError('startedAt is in whole Unix seconds.');
    }
    // Workers have no time while modules load: their clock stands at 0 until the first request.
    this.#startedAt = options.startedAt ?? (now() > 0 ? Math.floor(now() / 1000) : null);
    this.#current = newGeneration(now());
    this.#previous = newGeneration(now());
  }

  /** Unix seconds: what was created earlier may have been claimed where this store does not know of it. */
  get startedAt(): number {
    this.#startedAt ??= Math.floor(this.#now() / 1000);
    return this.#startedAt;
  }

  /** See {@link NonceStore}. What it holds when the value grows is kept longer, and what it has dropped is refused. */
  widestSkew(clockSkewSeconds: number, nowMs?: number): number {
    const before = this.#skewSeconds;
    // By a clock that is behind the one of this store, requests count for longer.
    const behindMs = nowMs === undefined ? 0 : this.#now() - nowMs;
    const skewSeconds = clockSkewSeconds + (behindMs > INSTANCE_SKEW_MS ? behindMs / 1000 : 0);
    if (!(skewSeconds > before)) return before;
    this.#skewSeconds = skewSeconds;
    for (const generation of [this.#current, this.#previous]) {
      if (generation.untilMs > 0) generation.untilMs += (skewSeconds - before) * 1000;
    }
    // Whoever has allowed for less refuses by its age what was dropped.
    const dropped = Math.floor((this.#forgottenUntilMs - INSTANCE_SKEW_MS) / 1000 - before);
    if (this.#forgottenUntilMs > 0) this.#startedAt = Math.max(this.startedAt, dropped + 1);
    return skewSeconds;
  }

  /** How many nonces it holds, expired ones that are not dropped yet included. */
  get size(): number {
    return this.#current.nonces.size + this.#previous.nonces.size;
  }

  /** @throws NonceStoreUnavailableError when full, or after the clock was set back; TypeError for a nonce of another length than 22 */
  claim(deviceId: string, nonce: string, keepUntilMs: number): boolean {
    if (nonce.length !== 22) throw new TypeError('A nonce is of 22 base64url characters.');
    const nowMs = this.#now();
    this.#rotate(nowMs);
    // Only after the clock was set back: what was dropped was over by then, and is not over now.
    if (nowMs <= this.#forgottenUntilMs) {
      throw clockSetBack(this.#forgottenUntilMs);
    }
    const earlier = this.#previous.devices.get(deviceId);
    if (earlier !== undefined) {
      packEntry(this.#entry, nonce, earlier.number);
      if (this.#previous.nonces.has(this.#entry)) return false;
    }
    const current = this.#current;
    const known = current.devices.get(deviceId);
    const device = known ?? { number: current.devices.size + 1, count: 0 };
    packEntry(this.#entry, nonce, device.number);
    if (known !== undefined && current.nonces.has(this.#entry)) return false;

    if (this.size >= this.#capacity || device.number > MAX_DEVICE_NUMBER) {
      throw new NonceStoreUnavailableError('The nonce store is full.');
    }
    if (device.count + (earlier?.count ?? 0) >= this.#capacity / 2) {
      throw new NonceStoreUnavailableError('One device fills half of the nonce store.');
    }
    current.nonces.add(this.#entry);
    device.count++;
    if (known === undefined) current.devices.set(deviceId, device);
    if (keepUntilMs > current.untilMs) current.untilMs = keepUntilMs;
    return true;
  }

  #rotate(nowMs: number): void {
    if (nowMs <= this.#previous.untilMs || nowMs - this.#current.bornMs < MIN_SPAN_MS) return;
    this.#forgottenUntilMs = Math.max(this.#forgottenUntilMs, this.#previous.untilMs);
    this.#previous = this.#current;
    this.#current = newGeneration(nowMs);
  }
}

function newGeneration(nowMs: number): Generation {
  return { nonces: new NonceTable(), devices: new Map(), bornMs: nowMs, untilMs: 0 };
}
