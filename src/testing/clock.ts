/** The clock of a test mesh: the callers sign by it, and the machine under test verifies by it. */
export interface TestClock {
  /** Its time, Unix milliseconds: `Date.now()`, which fake timers may have replaced, plus the time by which it was turned. */
  readonly now: () => number;
  /**
   * Turns it.
   *
   * @param milliseconds forward; negative: back
   * @throws TypeError if that is not a number
   */
  advance(milliseconds: number): void;
  /**
   * Sets it to a moment. It continues from there.
   *
   * @param time a Date, or Unix milliseconds
   * @throws TypeError for another value
   */
  set(time: Date | number): void;
}

/** Makes a clock that shows the real time. */
export function createClock(): TestClock {
  let offsetMs = 0;
  return {
    now: () => Date.now() + offsetMs,
    advance(milliseconds) {
      offsetMs += finite(milliseconds, 'advance() takes a number of milliseconds.');
    },
    set(time) {
      offsetMs = finite(Number(time), 'set() takes a Date, or Unix milliseconds.') - Date.now();
    },
  };
}

function finite(value: number, message: string): number {
  if (!Number.isFinite(value)) throw new TypeError(message);
  return value;
}
