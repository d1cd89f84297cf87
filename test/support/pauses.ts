import { readdirSync, readFileSync } from 'node:fs';

/** How long the main thread has had a core, in milliseconds; of a machine that does not say so, the whole process. */
export function cpuMs(): number {
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

/**
 * Tells how long others have had the core while this process wanted it, or one that works for it: for how long any of its
 * threads was ready and did not run. The threads that read files, look up names and derive keys count too. Where the
 * machine does not say so, the lateness of the event loop counts.
 */
export class StolenTime {
  readonly #pids: readonly number[];
  /** For each thread, in milliseconds since that thread began. */
  readonly #readyMs = new Map<string, { first: number; last: number }>();
  #lateMs = 0;
  #at = performance.now();
  #cpu = cpuMs();
  readonly #timer = setInterval(() => this.#look(), TICK_MS).unref();

  /** @param pids of other processes whose work is waited for */
  constructor(...pids: readonly number[]) {
    this.#pids = [process.pid, ...pids];
    for (const { thread, readyMs } of this.#pids.flatMap(threadsOf))
      this.#readyMs.set(thread, { first: readyMs, last: readyMs });
  }

  /** Milliseconds since it was made. */
  get ms(): number {
    this.#look();
    for (const { thread, readyMs } of this.#pids.flatMap(threadsOf)) {
      const { first } = this.#readyMs.get(thread) ?? { first: 0 };
      this.#readyMs.set(thread, { first, last: readyMs });
    }
    const ready = [...this.#readyMs.values()].reduce((sum, { first, last }) => sum + last - first, 0);
    return Math.max(ready, this.#lateMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const [now, cpu] = [performance.now(), cpuMs()];
    const lateMs = now - this.#at - TICK_MS - (cpu - this.#cpu);
    if (lateMs > TICK_MS) this.#lateMs += lateMs; // less is what any timer is
    [this.#at, this.#cpu] = [now, cpu];
  }
}

/** Each thread of a process, and for how many milliseconds it has been ready without a core. None of one that has ended. */
function threadsOf(pid: number): { thread: string; readyMs: number }[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((task) => {
      const thread = `/proc/${pid}/task/${task}`;
      return { thread, readyMs: Number(readFileSync(`${thread}/schedstat`, 'latin1').split(' ')[1]) / 1e6 };
    });
  } catch {
    return [];
  }
}

const TICK_MS = 5;
