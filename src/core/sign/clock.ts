import { ClockSkewTooLargeError } from '../errors/amesh-error';
import { isPrivateChannel } from '../wire/private-channel';

/**
 * The largest clock correction, in milliseconds. A response may report a false time. A request signed ahead of time could
 * be held back and used later; one signed late is merely refused.
 */
const MAX_MS = Object.freeze({ ahead: 30_000, behind: 300_000 });

/** A Date header has whole seconds, so a smaller difference counts as none. */
const NOISE_MS = 2000;

const MAX_ORIGINS = 1000;

/** The clocks of servers, by origin, in memory only. */
export class ServerClocks {
  readonly #offsets = new Map<string, number>();

  constructor(readonly now: () => number) {}

  /**
   * The time of an origin's clock, in whole Unix seconds: at most 30 s ahead of our own clock, even if that is set later.
   *
   * @param offsetMs the result of {@link correct}
   * @param offsetMs what {@link correct} has just found
   */
  seconds(origin: string, offsetMs = this.#offsets.get(origin) ?? 0): number {
    return Math.floor((this.now() + offsetMs) / 1000);
  }

  /** Whether to believe the time in a response: not over plain http, not from a cache, not without a Date. */
  mayCorrect(url: URL, response: Response): boolean {
    return isPrivateChannel(url) && !Number.isNaN(this.#offsetIn(response));
  }

  /**
   * Learns the time from a response that refused our timestamp and may be believed.
   *
   * @returns the difference to our own clock, in milliseconds
   * @throws ClockSkewTooLargeError if it is more than 30 s ahead of ours, or 300 s behind
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

  /** Drops a correction once a response shows that our own clock is right. */
  confirm(url: URL, response: Response): void {
    if (this.#offsets.has(url.origin) && Math.abs(this.#offsetIn(response)) < NOISE_MS)
      this.#offsets.delete(url.origin);
  }

  /** How far a response is ahead of our clock, in milliseconds; NaN if it does not show the server's time. */
  #offsetIn({ headers }: Response): number {
    return headers.has('age') ? Number.NaN : Date.parse(headers.get('date') ?? '') - this.now();
  }
}
