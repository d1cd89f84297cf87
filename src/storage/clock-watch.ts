import { clockSetBack } from '../core/errors/amesh-error';

/** How much longer a claim is kept than its request could count. */
const SLACK_MS = 10_000;

/**
 * Notices that the clock was set back. What was claimed before then ends too early by the new time, and a store that
 * lets go of what has ended would take a replay for new.
 */
export class ClockWatch {
  #latestMs = Number.NEGATIVE_INFINITY;
  /** Until when all that was claimed has to be remembered. */
  #untilMs = Number.NEGATIVE_INFINITY;
  /** The same for what was claimed before the clock was set back. */
  #forgottenUntilMs = Number.NEGATIVE_INFINITY;

  /** @throws NonceStoreUnavailableError until no request from before the clock was set back can count any more */
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
