import { ClockSkewTooLargeError } from '../errors/amesh-error';
import { isPrivateChannel } from '../wire/private-channel';

/**
 * How far a clock is corrected, in milliseconds. Nothing proves who has named a time, and what is signed ahead of time
 * can be kept back until its time comes; what is signed late is just refused.
 */
const MAX_MS = Object.freeze({ ahead: 30_000, behind: 300_000 });

/** A Date header has whole seconds: a smaller difference is no difference. */
const NOISE_MS = 2000;

const MAX_ORIGINS = 1000;

/** What time it is for the servers that said so, per origin and in memory only. */
export class ServerClocks {
  readonly #offsets = new Map<string, number>();

  constructor(readonly now: () => number) {}

  /**
   * Now by the clock of an origin, in whole Unix seconds: never more than 30 s ahead of our own clock, whatever that was
   * set to since.
   *
   * @param offsetMs what {@link correct} has just found
   */
  seconds(origin: string, offsetMs = this.#offsets.get(origin) ?? 0): number {
    return Math.floor((this.now() + offsetMs) / 1000);
  }

  /** Whether the time in an answer is to be believed: not over plain http, not out of a cache, not without a Date. */
  mayCorrect(url: URL, response: Response): boolean {
    return isPrivateChannel(url) && !Number.isNaN(this.#offsetIn(response));
  }

  /**
   * Learns from an answer that found the time wrong, and may be believed.
   *
   * @returns by how much the time to sign with differs from our own, in milliseconds
   * @throws ClockSkewTooLargeError where that is more than 30 s ahead of ours, or 300 s behind
   */
  correct(url: URL, response: Response): number {
    const offsetMs = this.#offsetIn(response);
    if (offsetMs > MAX_MS.ahead || -offsetMs > MAX_MS.behind)
      throw new ClockSkewTooLargeError(url.host, Math.sign(offsetMs) * Math.ceil(Math.abs(offsetMs) / 1000));
    this.#offsets.delete(url.origin);
    if (Math.abs(offsetMs) >= NOISE_MS) {
      if (this.#offsets.size >= MAX_ORIGINS)
        this.#offsets.delete(this.#offsets.keys().next().value as string);
      this.#offsets.set(url.origin, offsetMs);
    }
    return offsetMs;
  }

  /** Goes back to our own clock where an answer says that it was right all along. */
  confirm(url: URL, response: Response): void {
    if (this.#offsets.has(url.origin) && Math.abs(this.#offsetIn(response)) < NOISE_MS)
      this.#offsets.delete(url.origin);
  }

  /** How far an answer is ahead of our clock; NaN where it does not say so itself. */
  #offsetIn({ headers }: Response): number {
    return headers.has('age') ? Number.NaN : Date.parse(headers.get('date') ?? '') - this.now();
  }
}
