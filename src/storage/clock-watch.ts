import { clockSetBack } from '../core/errors/amesh-error';

/** How much longer a claim is kept than its request could be accepted, in milliseconds. */
const SLACK_MS = 10_000;

/**
 * Detects that the clock was set back. Earlier claims then expire too early by the new time, and a store that removes
 * expired claims would accept a replay.
 */
export class ClockWatch {
  #latestMs = Number.NEGATIVE_INFINITY;
  /** The latest time until which a claim must be remembered. */
  #untilMs = Number.NEGATIVE_INFINITY;
  /** The same for claims from before the clock was set back. */
  #forgottenUntilMs = Number.NEGATIVE_INFINITY;

  /** @throws NonceStoreUnavailableError until no request from before the clock was set back could be accepted any more */
  note(nowMs: number, keepUntilMs: number): void {
    if (nowMs < this.#latestMs - SLACK_MS) {
      this.#forgottenUntilMs = this.#untilMs;
      this.#latestMs = nowMs;
    }
    if (nowMs <= this.#forgottenUntilMs) {
      throw clockSetBack(this.#forgottenUntilMs);
    }
    this.#latestMs = Math.max(this.#latestMs, nowMs);
    this.#untilMs = Math.max(this.#untilMs, keepUntilMs);
  }
}
