import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long work runs before other work gets a turn. */
const TURN_MS = 5;

/** Splits long work into turns of the event loop, so that a server can respond in between. */
export class Turns {
  #startedAt = performance.now();

  isOver(): boolean {
    return performance.now() - this.#startedAt > TURN_MS;
  }

  async next(): Promise<void> {
    await nextTurn();
    this.#startedAt = performance.now();
  }
}
