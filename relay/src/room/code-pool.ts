const FIRST = 100_000;
const COUNT = 900_000;
const TRIES = 64;

/**
 * The codes 100000 to 999999, and until when each of them rests. Always of one size, 4.5 MB: no stranger can make it
 * grow, and nothing has to be swept.
 */
export class CodePool {
  readonly #restsUntil = new Uint32Array(COUNT); // in seconds
  readonly #wasUsed = new Uint8Array(COUNT);
  readonly #randomCode: () => number;

  /** @param randomCode a whole number from 100000 to 999999 out of a CSPRNG, each as likely as the others */
  constructor(randomCode: () => number) {
    this.#randomCode = randomCode;
  }

  /** A code that nobody has had within its rest, which begins anew; null where so many rest that none was found. */
  take(nowMs: number, restMs: number): string | null {
    for (let tries = 0; tries < TRIES; tries++) {
      const code = this.#randomCode();
      const index = code - FIRST;
      if ((this.#restsUntil[index] as number) * 1000 > nowMs) continue;
      this.#wasUsed[index] = 0;
      this.rest(String(code), nowMs, restMs);
      return String(code);
    }
    return null;
  }

  /** From now on nobody gets this code for a while. */
  rest(code: string, nowMs: number, restMs: number): void {
    this.#restsUntil[Number(code) - FIRST] = Math.ceil((nowMs + restMs) / 1000);
  }

  /** Somebody else has had it, so it is not ours to keep from anybody. */
  giveBack(code: string): void {
    this.#restsUntil[Number(code) - FIRST] = 0;
  }

  burn(code: string): void {
    this.#wasUsed[Number(code) - FIRST] = 1;
  }

  /** Whether somebody has joined with it and it rests since. */
  isBurnt(code: string, nowMs: number): boolean {
    const index = Number(code) - FIRST;
    return this.#wasUsed[index] === 1 && (this.#restsUntil[index] as number) * 1000 > nowMs;
  }

  /** All codes that rest, for how many milliseconds yet, and whether somebody has joined with them. */
  *resting(nowMs: number): Generator<{ code: string; restMs: number; isBurnt: boolean }> {
    for (let index = 0; index < COUNT; index++) {
      const restMs = Math.ceil((this.#restsUntil[index] as number) * 1000 - nowMs);
      if (restMs > 0) yield { code: String(FIRST + index), restMs, isBurnt: this.#wasUsed[index] === 1 };
    }
  }
}
