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

/** Tells how long other processes have had the core while this one wanted it. */
export class StolenTime {
  #totalMs = 0;
  #at = performance.now();
  #cpu = cpuMs();
  readonly #timer = setInterval(() => this.#look(), TICK_MS).unref();

  /** Milliseconds since it was made. */
  get ms(): number {
    this.#look();
    return this.#totalMs;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const [now, cpu] = [performance.now(), cpuMs()];
    const lateMs = now - this.#at - TICK_MS - (cpu - this.#cpu);
    if (lateMs > TICK_MS) this.#totalMs += lateMs; // less is what any timer is
    [this.#at, this.#cpu] = [now, cpu];
  }
}

const TICK_MS = 5;
