import type { MaybePromise } from '../../core/crypto/provider';
import type { AllowList, AllowListSource } from '../../core/devices/allow-list';
import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { startDeadline, waitAtMost } from '../../core/within';

/**
 * How long a request waits for an overdue read, and for how much of that time the store may be silent. The first list is worth a
 * longer wait: without it, every request is refused. Later, the time of a request also has to include the 250 ms of the nonce
 * store.
 */
const PATIENCE_MS = { first: 2500, next: 250 };
const SILENCE_MS = { first: 250, next: 75 };

/**
 * The least time between two reads, however often the store reports a change: one of its clients could report changes
 * without end. After a read that took longer, the pause is as long as that read.
 */
const REST_MS = 50;

/** Measures how long a store is silent. */
export interface Silence {
  begin(): void;
  end(): void;
}

export interface SharedListOptions {
  /**
   * Reads the list.
   *
   * @param silence is told when files or the store are read, and when they have answered
   */
  readonly load: (silence: Silence) => Promise<AllowList>;
  /** Calls `changed` when the list may have changed. */
  readonly watch: (changed: () => void) => void;
  readonly pollSeconds: number;
  readonly maxStaleSeconds: number;
}

/**
 * The allow list from a store that many instances share. It is read when the store reports a change, and at intervals; a request
 * reads it only if neither has happened in time.
 *
 * If the store cannot be read, the last list stays valid for `maxStaleSeconds`. If the store has a broken list, requests
 * fail immediately.
 */
export class SharedList implements AllowListSource {
  readonly #options: SharedListOptions;
  #list: AllowList | null = null;
  /** Why the stored list is broken. */
  #broken: unknown = null;
  /** When a read last confirmed the list, and when one last ended, by a monotonic clock. */
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #attemptedAt = Number.NEGATIVE_INFINITY;
  #unavailable: unknown = null;
  #reading: Promise<void> | null = null;
  /** Resolves when the store has been silent for too long during the current read. */
  #silence: Promise<void> = Promise.resolve();
  #readAgain = false;
  #restMs = REST_MS;
  #soon: NodeJS.Timeout | undefined;
  #hasStarted = false;

  constructor(options: SharedListOptions) {
    this.#options = options;
  }

  /** @throws AmeshError `allow_list_integrity_failure`; `allow_list_unavailable` */
  current(): MaybePromise<AllowList> {
    this.#start();
    const { pollSeconds } = this.#options;
    // No timer runs while a machine sleeps, so this also covers the first request after a sleep.
    const isDue = performance.now() - this.#attemptedAt > 2000 * pollSeconds;
    if (!isDue) return this.#decide();
    return this.#patiently(this.#read()).then(() => this.#decide());
  }

  expire(): void {
    this.#attemptedAt = Number.NEGATIVE_INFINITY;
  }

  /** Starts the timer and the notifications, on the first request. */
  #start(): void {
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    const { watch, pollSeconds } = this.#options;
    watch(() => this.#readSoon());
    setInterval(() => this.#read(), 1000 * pollSeconds).unref();
  }

  #decide(): AllowList {
    if (this.#broken !== null) throw this.#broken;
    const staleSeconds = (performance.now() - this.#confirmedAt) / 1000;
    if (this.#list !== null && staleSeconds <= this.#options.maxStaleSeconds) return this.#list;
    if (this.#list === null && isAmeshError(this.#unavailable)) throw this.#unavailable;
    throw new AmeshError(
      SERVER_CODES.allow_list_unavailable,
      this.#list === null
        ? 'The store of the allow list has not responded yet.'
        : `The store of the allow list has not responded for ${Math.floor(staleSeconds)} s.`,
      { cause: this.#unavailable },
    );
  }

  /** One read at a time. During a read, a further call queues another one, which may find a newer list. */
  #read(): Promise<void> {
    if (this.#reading !== null) {
      this.#readAgain = true;
      return this.#reading;
    }
    this.#reading = this.#readNow().finally(() => {
      this.#reading = null;
      if (!this.#readAgain) return;
      this.#readAgain = false;
      this.#readSoon();
    });
    return this.#reading;
  }

  /** Reads now, or after the pause that follows the last read. */
  #readSoon(): void {
    const restMs = this.#attemptedAt + this.#restMs - performance.now();
    if (this.#reading !== null) this.#readAgain = true;
    else if (restMs <= 0) void this.#read();
    else {
      this.#soon ??= setTimeout(() => {
        this.#soon = undefined;
        void this.#read();
      }, restMs).unref();
    }
  }

  async #readNow(): Promise<void> {
    const startedAt = performance.now();
    let stop: (() => void) | undefined;
    let giveUp: () => void;
    this.#silence = new Promise((resolve) => {
      giveUp = resolve;
    });
    const silence: Silence = {
      begin: () => {
        stop?.();
        stop = startDeadline(SILENCE_MS[this.#waited], giveUp);
      },
      end: () => stop?.(),
    };
    try {
      this.#list = await this.#options.load(silence);
      this.#broken = null;
      this.#unavailable = null;
      this.#confirmedAt = startedAt;
    } catch (error) {
      if (isAmeshError(error) && error.code === 'allow_list_integrity_failure') this.#broken = error;
      else this.#unavailable = error;
    }
    stop?.();
    this.#attemptedAt = performance.now();
    this.#restMs = Math.max(REST_MS, this.#attemptedAt - startedAt);
  }

  get #waited(): 'first' | 'next' {
    return this.#list === null ? 'first' : 'next';
  }

  #patiently(reading: Promise<void>): Promise<void> {
    return waitAtMost(PATIENCE_MS[this.#waited], reading, this.#silence);
  }
}
