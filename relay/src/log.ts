/** One thing that happened. Never has codes, bodies, names, keys or addresses. */
export interface RelayLogEntry {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly event: string;
  /** A random id of the session. */
  readonly session?: string;
  readonly outcome: string;
  /** Why Redis is away: what the system or Redis calls it, such as `ECONNREFUSED`, `WRONGPASS` or `timeout`. */
  readonly reason?: string;
  /** Of `suppressed`: how many entries were left out since the last one of this kind. */
  readonly count?: number;
}

export type Log = (event: string, outcome: string, session?: string, reason?: string) => void;

/** Entries that strangers cause, a second. They must not be able to fill a disk; the metrics count them all. */
const MAX_REFUSALS = 10;
const MAX_OTHERS = 100;
/** What the relay does itself, and no stranger can repeat at will. */
const OWN: ReadonlySet<string> = new Set(['started', 'stopped', 'draining', 'redis']);

/** @param write gets each entry; where there is none, nothing is logged */
export function createLog(write: ((entry: RelayLogEntry) => void) | undefined): Log {
  if (write === undefined) return () => {};
  const refusals = new Quota(MAX_REFUSALS);
  const others = new Quota(MAX_OTHERS);
  return (event, outcome, session, reason) => {
    // Every message would be a line, and says nothing.
    if (event === 'message') return;
    const now = new Date();
    const time = now.toISOString();
    const second = Math.floor(now.getTime() / 1000);
    for (const [kind, quota] of Object.entries({ refused: refusals, other: others })) {
      const count = quota.begin(second);
      if (count > 0) write({ time, event: 'suppressed', outcome: kind, count });
    }
    if (!OWN.has(event) && !(event === 'refused' ? refusals : others).take()) return;
    const more = {
      ...(session === undefined ? {} : { session }),
      ...(reason === undefined ? {} : { reason }),
    };
    write({ time, event, outcome, ...more });
  };
}

/** So many a second. */
class Quota {
  readonly #perSecond: number;
  #second = 0;
  #taken = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** @returns how many there were too many before this second, where it is a new one */
  begin(second: number): number {
    if (second === this.#second) return 0;
    const tooMany = Math.max(0, this.#taken - this.#perSecond);
    this.#second = second;
    this.#taken = 0;
    return tooMany;
  }

  take(): boolean {
    return ++this.#taken <= this.#perSecond;
  }
}
