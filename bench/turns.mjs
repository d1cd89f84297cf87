// Measures what takes turns, so that ratios hold on a machine that does other work meanwhile.

export const PER_TURN = 50;

/**
 * Lets sides take turns, and compares each with the first one.
 *
 * @param sides functions, or objects with `run(i)`, and `prepare()` for what does not count
 * @returns for each side: `us`, the median time of one run in µs, and `ratio`, the median of its ratios to the first side
 */
export async function takeTurns(sides, turns = 320) {
  const all = sides.map((side) => (typeof side === 'function' ? { run: side } : side));
  const times = all.map(() => []);
  for (let turn = 0; turn < turns; turn++) {
    for (const { prepare } of all) await prepare?.();
    // Who is first takes turns, too: it may find a cold cache.
    for (let i = 0; i < all.length; i++) {
      const at = (i + turn) % all.length;
      times[at].push(await undisturbed(all[at].run));
    }
  }
  const warm = times.map((list) => list.slice(turns >> 3));
  return warm.map((list) => ({
    us: 1000 * middle(list),
    ratio: middle(list.map((ms, i) => ms / warm[0][i])),
  }));
}

/** The lower quartile of a turn, in ms: after others have had the core, its caches are cold for a while. */
async function undisturbed(run) {
  const times = [];
  for (let i = 0; i < PER_TURN; i++) {
    const start = performance.now();
    const running = run(i);
    if (running instanceof Promise) await running;
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[PER_TURN >> 2];
}

export function middle(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

export function round(value, digits = 3) {
  return Number(value.toFixed(digits));
}
