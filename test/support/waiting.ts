import { setTimeout as sleep } from 'node:timers/promises';

/** How long to wait, in ms, for what takes a moment where nobody else uses the machine. */
export const SOON = 15_000;

/**
 * Asks again until the answer is right, and gives the time of the last question that was answered otherwise, as
 * `performance.now()` gives it; 0 where there was none. Questions, since a busy machine makes answers late.
 */
export async function lastOtherwise(isRight: () => Promise<boolean>, waitMs = SOON): Promise<number> {
  let lastMs = 0;
  for (const endsAt = performance.now() + waitMs; ; await sleep(10)) {
    const askedAt = performance.now();
    if (await isRight()) return lastMs;
    lastMs = askedAt;
    if (askedAt > endsAt) throw new Error(`It was still answered otherwise after ${waitMs} ms.`);
  }
}
