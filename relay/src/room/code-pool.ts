const FIRST = 100_000;
const COUNT = 900_000;
/** Even if nine of ten codes rest, 64 tries find a free one in 998 of 1000 cases. */
const TRIES = 64;

/**
 * The codes 100000 to 999999, and the time until which each of them rests. It always takes 4.5 MB: strangers cannot make
 * it grow, and it needs no cleanup.
 */
export class CodePool {
  readonly #restsUntilSeconds = new Uint32Array(COUNT);
  readonly #burnt = new Uint8Array(COUNT);
  readonly #randomCode: () => number;

  /** @param randomCode a uniform whole number from 100000 to 999999, from a CSPRNG */
  constructor(randomCode: () => number) {
    this.#randomCode = randomCode;
  }

  /** Finds a code that does not rest, and starts its rest; null if no try found one. */
  allocate(nowMs: number, restMs: number): string | null {
    for (let tries = 0; tries < TRIES; tries++) {
      const code = this.#randomCode();
      const index = code - FIRST;
      if (this.#restsUntilMs(index) > nowMs) continue;
      this.#burnt[index] = 0;
      this.rest(String(code), nowMs, restMs);
      return String(code);
    }
    return null;
  }

  /** Keeps the code from being issued for this long. */
  rest(code: string, nowMs: number, restMs: number): void {
    this.#restsUntilSeconds[Number(code) - FIRST] = Math.ceil((nowMs + restMs) / 1000);
  }

  /** Ends the rest of a code that another instance issued. */
  giveBack(code: string): void {
    this.#restsUntilSeconds[Number(code) - FIRST] = 0;
  }

  burn(code: string): void {
    this.#burnt[Number(code) - FIRST] = 1;
  }

  /** Whether a client has joined with the code, and the code still rests. */
  isBurnt(code: string, nowMs: number): boolean {
    const index = Number(code) - FIRST;
    return this.#burnt[index] === 1 && this.#restsUntilMs(index) > nowMs;
  }

  /** All resting codes, how long they still rest, and whether a client joined with them. */
  *resting(nowMs: number): Generator<{ code: string; restMs: number; isBurnt: boolean }> {
    for (let index = 0; index < COUNT; index++) {
      const restMs = Math.ceil(this.#restsUntilMs(index) - nowMs);
      if (restMs > 0) yield { code: String(FIRST + index), restMs, isBurnt: this.#burnt[index] === 1 };
    }
  }

  #restsUntilMs(index: number): number {
    return (this.#restsUntilSeconds[index] as number) * 1000;
  }
}
