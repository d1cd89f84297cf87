import { setTimeout as sleep } from 'node:timers/promises';
import { StolenTime } from './pauses';

/** How long to wait, in ms, for what takes a moment where nobody else uses the machine. */
export const SOON = 30_000;

/**
 * Asks again until the answer is right, and gives for how many milliseconds it was otherwise: from now to the last question
 * that was answered otherwise, 0 where there was none. Questions, since a busy machine makes answers late. The time for which
 * others had the core does not count.
 *
 * @param pids of the processes that answer, where this one does not
 */
export async function otherwiseForMs(
  isRight: () => Promise<boolean>,
  pids: readonly number[] = [],
): Promise<number> {
  const stolen = new StolenTime(...pids);
  const startedAt = performance.now();
  try {
    for (let lastMs = 0; ; await sleep(25)) {
      const askedMs = performance.now() - startedAt;
      const stolenMs = stolen.ms;
      if (await isRight()) return lastMs;
      lastMs = Math.max(0, askedMs - stolenMs);
      if (askedMs > SOON) throw new Error(`It was still answered otherwise after ${SOON} ms.`);
    }
  } finally {
    stolen.stop();
  }
}
