import { ClockSkewTooLargeError } from '../errors';
import { isPrivateChannel } from './private-channel';

/** How far a clock is corrected silently, in seconds. */
const MAX_CORRECTION_SECONDS = 300;

/** A Date header has whole seconds: a smaller difference is no difference. */
const NOISE_MS = 2000;

const MAX_ORIGINS = 1000;

/** What time it is for the servers that said so, per origin and in memory only. */
export class ServerClocks {
  readonly #offsets = new Map<string, number>();

  constructor(readonly now: () => number) {}

  /** Now by the clock of an origin, in whole Unix seconds. */
  seconds(origin: string): number {
    return Math.floor((this.now() + (this.#offsets.get(origin) ?? 0)) / 1000);
  }

  /** Whether the time in an answer is to be believed: not over plain http, not out of a cache, not without a Date. */
  mayCorrect(url: URL, response: Response): boolean {
    return isPrivateChannel(url) && !response.headers.has('age') && !Number.isNaN(dateMsOf(response));
  }

  /**
   * Learns from an answer that found the time wrong, and may be believed.
   *
   * @returns the time to sign with, in Unix seconds
   * @throws ClockSkewTooLargeError beyond 300 s
   */
  correct(url: URL, response: Response): number {
    const dateMs = dateMsOf(response);
    const offsetMs = dateMs - this.now();
    const seconds = Math.round(offsetMs / 1000);
    if (Math.abs(offsetMs) > MAX_CORRECTION_SECONDS * 1000)
      throw new ClockSkewTooLargeError(url.host, seconds);
    this.#offsets.delete(url.origin);
    if (Math.abs(offsetMs) >= NOISE_MS) {
      if (this.#offsets.size >= MAX_ORIGINS)
        this.#offsets.delete(this.#offsets.keys().next().value as string);
      this.#offsets.set(url.origin, offsetMs);
    }
    return Math.floor(dateMs / 1000);
  }
}

function dateMsOf(response: Response): number {
  return Date.parse(response.headers.get('date') ?? '');
}
