/** The clock of a test mesh: the callers sign by it, and the machine under test verifies by it. */
export class TestClock {
  #offsetMs = 0;

  /** Its time, Unix milliseconds: that of `Date.now()`, which fake timers may have replaced, as far as it was turned. */
  readonly now = (): number => Date.now() + this.#offsetMs;

  /**
   * Turns it.
   *
   * @param milliseconds forward; negative: back
   * @throws TypeError if that is no number
   */
  advance(milliseconds: number): void {
    this.#offsetMs += finite(milliseconds, 'advance() takes a number of milliseconds.');
  }

  /**
   * Sets it to a moment. It goes on from there.
   *
   * @param time a Date, or Unix milliseconds
   * @throws TypeError for another value
   */
  set(time: Date | number): void {
    this.#offsetMs = finite(Number(time), 'set() takes a Date, or Unix milliseconds.') - Date.now();
  }
}

function finite(value: number, message: string): number {
  if (!Number.isFinite(value)) throw new TypeError(message);
  return value;
}
