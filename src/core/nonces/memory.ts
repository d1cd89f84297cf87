import { clockSetBack, NonceStoreUnavailableError } from '../errors/amesh-error';
import { assertOptionNames } from '../options';
import { areDelegates, INSTANCE_SKEW_MS, type NonceStore } from './nonce-store';
import { MAX_DEVICE_NUMBER, NonceTable, packEntry } from './table';

/** Options of a memory store. */
export interface InMemoryNonceStoreOptions {
  /** The most nonces it holds at a time, 2 to 10,000,000; default 1,000,000, which take about 50 MB. */
  readonly capacity?: number | undefined;
  /** Unix seconds; default: now, rounded down. For tests with a fixed clock. */
  readonly startedAt?: number | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** The number of a device in its generation, and how many nonces it has there. */
interface DeviceCount {
  readonly number: number;
  count: number;
}

const OF_DEVICE = ['One device fills', 'half', 2] as const;
const OF_DELEGATES = ['The delegates of one device fill', 'an eighth', 8] as const;

/** The nonces of one period. They are dropped together, so that nothing ever scans a million entries. */
interface Generation {
  readonly nonces: NonceTable;
  readonly devices: Map<string, DeviceCount>;
  readonly bornMs: number;
  /** The latest time until which one of its nonces must be kept. */
  untilMs: number;
}

const NAMES: ReadonlySet<string> = new Set<keyof InMemoryNonceStoreOptions>(['capacity', 'startedAt', 'now']);
const MIN_SPAN_MS = 10_000;

/**
 * A {@link NonceStore} for one process. Its size is limited: when full, it refuses requests and never forgets a nonce that
 * still counts. No device may fill more than half of it, and its delegates together no more than an eighth.
 */
export class InMemoryNonceStore implements NonceStore {
  #startedAt: number | null;
  readonly #capacity: number;
  readonly #now: () => number;
  #current: Generation;
  #previous: Generation;
  /** The latest time until which a dropped nonce had to be kept. */
  #forgottenUntilMs = 0;
  /** The largest `clockSkewSeconds` of the verifiers that share this store. */
  #skewSeconds = 0;
  // Reused by every call, which fills it first and does not keep it.
  readonly #entry = new Uint32Array(5);

  /** @throws TypeError for an unknown option, or one out of range */
  constructor(options: InMemoryNonceStoreOptions = {}) {
    assertOptionNames('new InMemoryNonceStore()', options, NAMES);
    const { capacity = 1_000_000, now = Date.now } = options;
    if (!Number.isInteger(capacity) || capacity < 2 || capacity > 10_000_000) {
      throw new TypeError('capacity must be a whole number from 2 to 10,000,000.');
    }
    this.#capacity = capacity;
    this.#now = now;
    if (options.startedAt !== undefined && !Number.isSafeInteger(options.startedAt)) {
      throw new TypeError('startedAt must be whole Unix seconds.');
    }
    // On Workers the clock is 0 while modules load, until the first request.
    this.#startedAt = options.startedAt ?? (now() > 0 ? Math.floor(now() / 1000) : null);
    this.#current = newGeneration(now());
    this.#previous = newGeneration(now());
  }

  /** Unix seconds. A request created earlier may have been accepted before this store existed. */
  get startedAt(): number {
    this.#startedAt ??= Math.floor(this.#now() / 1000);
    return this.#startedAt;
  }

  /** See {@link NonceStore}. If the value grows, nonces here are kept longer, and requests as old as dropped ones are refused. */
  widestSkew(clockSkewSeconds: number, nowMs?: number): number {
    const before = this.#skewSeconds;
    // If the verifier's clock is behind this store's, requests stay valid for longer.
    const behindMs = nowMs === undefined ? 0 : this.#now() - nowMs;
    const skewSeconds = clockSkewSeconds + (behindMs > INSTANCE_SKEW_MS ? behindMs / 1000 : 0);
    if (!(skewSeconds > before)) return before;
    this.#skewSeconds = skewSeconds;
    for (const generation of [this.#current, this.#previous]) {
      if (generation.untilMs > 0) generation.untilMs += (skewSeconds - before) * 1000;
    }
    // A nonce dropped under the smaller value may still be valid: `startedAt` refuses those requests.
    const dropped = Math.floor((this.#forgottenUntilMs - INSTANCE_SKEW_MS) / 1000 - before);
    if (this.#forgottenUntilMs > 0) this.#startedAt = Math.max(this.startedAt, dropped + 1);
    return skewSeconds;
  }

  /** How many nonces it holds, including expired ones that are not dropped yet. */
  get size(): number {
    return this.#current.nonces.size + this.#previous.nonces.size;
  }

  /**
   * @throws NonceStoreUnavailableError when full, or after the clock was set back; TypeError for a nonce that does not have 22
   * characters
   */
  claim(deviceId: string, nonce: string, keepUntilMs: number): boolean {
    if (nonce.length !== 22) throw new TypeError('A nonce must have 22 base64url characters.');
    const nowMs = this.#now();
    this.#rotate(nowMs);
    // This is true only after the clock was set back: nonces that had expired when they were dropped now count again.
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
    const full = this.#fullness(deviceId, device, earlier);
    if (full !== null) {
      if (known !== undefined && current.nonces.has(this.#entry)) return false;
      throw new NonceStoreUnavailableError(full);
    }
    if (!current.nonces.add(this.#entry)) return false;
    device.count++;
    if (known === undefined) current.devices.set(deviceId, device);
    if (keepUntilMs > current.untilMs) current.untilMs = keepUntilMs;
    return true;
  }

  /** Why the store takes no further nonce of this device; null if it does. */
  #fullness(deviceId: string, device: DeviceCount, earlier: DeviceCount | undefined): string | null {
    if (this.size >= this.#capacity || device.number > MAX_DEVICE_NUMBER) return 'The nonce store is full.';
    const [who, part, share] = areDelegates(deviceId) ? OF_DELEGATES : OF_DEVICE;
    const isFull = device.count + (earlier?.count ?? 0) >= this.#capacity / share;
    return isFull ? `${who} ${part} of the nonce store.` : null;
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
