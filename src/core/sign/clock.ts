import { provenHead } from '../answers/proven-by';
import { ClockSkewTooLargeError } from '../errors/amesh-error';
import { isPrivateChannel } from '../wire/private-channel';

/**
 * The largest clock correction, in milliseconds. A response may report a false time, unless its target has proven it. Somebody
 * could withhold a request that is signed ahead of time, and use it later; a request that is signed late is merely refused.
 */
const MAX_MS = Object.freeze({ ahead: 30_000, provenAhead: 300_000, behind: 300_000 });

/** The time in a response has whole seconds, so a smaller difference is ignored. */
const NOISE_MS = 2000;

const MAX_ORIGINS = 1000;

/** The clocks of servers, by origin, in memory only. */
export class ServerClocks {
  readonly #offsets = new Map<string, number>();

  constructor(readonly now: () => number) {}

  /**
   * The time of an origin's clock, in whole Unix seconds: ahead of our own clock by no more than {@link correct} allows, even if
   * our own clock is set to another time later.
   *
   * @param offsetMs what {@link correct} has just found
   */
  seconds(origin: string, offsetMs = this.#offsets.get(origin) ?? 0): number {
    return Math.floor((this.now() + offsetMs) / 1000);
  }

  /**
   * Whether to believe the time in a response: if the response is proven; or if it came over https or loopback, not from a cache,
   * and has a Date.
   */
  mayCorrect(url: URL, response: Response): boolean {
    return (
      (provenHead(response) !== undefined || isPrivateChannel(url)) && !Number.isNaN(this.#offsetIn(response))
    );
  }

  /**
   * Learns the time from a response that refused our timestamp and may be believed.
   *
   * @returns the difference to our own clock, in milliseconds
   * @throws ClockSkewTooLargeError if that clock is more than 30 s ahead of ours (300 s if the response is proven), or more than
   *   300 s behind
   */
  correct(url: URL, response: Response): number {
    const offsetMs = this.#offsetIn(response);
    const ahead = provenHead(response) === undefined ? MAX_MS.ahead : MAX_MS.provenAhead;
    if (offsetMs > ahead || -offsetMs > MAX_MS.behind)
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
  #offsetIn(response: Response): number {
    const created = provenHead(response)?.created;
    if (created !== undefined) return created * 1000 - this.now();
    const { headers } = response;
    return headers.has('age') ? Number.NaN : Date.parse(headers.get('date') ?? '') - this.now();
  }
}
