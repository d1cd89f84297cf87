import { readFileSync } from 'node:fs';

/** How long the main thread has had a core, in milliseconds; of a machine that does not say so, the whole process. */
function cpuMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
  } catch {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  }
}

/**
 * Watches the event loop of this process.
 *
 * @returns `stop()`, which gives the longest time in milliseconds for which it did not turn, without the time in which
 *   other processes had the core
 */
export function watchPauses(): { stop(): number } {
  let longestMs = 0;
  let isOver = false;
  let cpu = cpuMs();
  let at = performance.now();
  const turn = () => {
    const [now, nowCpu] = [performance.now(), cpuMs()];
    longestMs = Math.max(longestMs, Math.min(now - at, nowCpu - cpu));
    [at, cpu] = [now, nowCpu];
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  return {
    stop() {
      isOver = true;
      return longestMs;
    },
  };
}
