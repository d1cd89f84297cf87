/** An event of the relay. It never contains codes, message bodies, names, keys or addresses. */
export interface RelayLogEntry {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly event: string;
  /** A random ID of the session. */
  readonly session?: string;
  readonly outcome: string;
  /** Why Redis is unavailable, by the name that the system or Redis uses: `ECONNREFUSED`, `WRONGPASS` or `timeout`, for example. */
  readonly reason?: string;
  /** For `suppressed`: how many entries of this kind were left out since the previous such entry. */
  readonly count?: number;
}

export type Log = (event: string, outcome: string, session?: string, reason?: string) => void;

/** Log entries per second that strangers may cause, so that they cannot fill a disk. The metrics count all events. */
const MAX_REFUSALS = 10;
const MAX_OTHERS = 100;
/** Events of the relay itself, which strangers cannot cause at will. */
const UNLIMITED: ReadonlySet<string> = new Set(['started', 'stopped', 'draining', 'redis']);

/** @param write called with each entry; undefined: nothing is logged */
export function createLog(write: ((entry: RelayLogEntry) => void) | undefined): Log {
  if (write === undefined) return () => {};
  const refusals = new Quota(MAX_REFUSALS);
  const others = new Quota(MAX_OTHERS);
  return (event, outcome, session, reason) => {
    // A line for every message would be useless.
    if (event === 'message') return;
    const now = new Date();
    const time = now.toISOString();
    const second = Math.floor(now.getTime() / 1000);
    for (const [kind, quota] of Object.entries({ refused: refusals, other: others })) {
      const count = quota.begin(second);
      if (count > 0) write({ time, event: 'suppressed', outcome: kind, count });
    }
    if (!UNLIMITED.has(event) && !(event === 'refused' ? refusals : others).take()) return;
    const more = {
      ...(session === undefined ? {} : { session }),
      ...(reason === undefined ? {} : { reason }),
    };
    write({ time, event, outcome, ...more });
  };
}

/** Allows a number of entries a second. */
class Quota {
  readonly #perSecond: number;
  #second = 0;
  #taken = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** @returns how many entries were left out before, in the first call of a new second; otherwise 0 */
  begin(second: number): number {
    if (second === this.#second) return 0;
    const leftOut = Math.max(0, this.#taken - this.#perSecond);
    this.#second = second;
    this.#taken = 0;
    return leftOut;
  }

  take(): boolean {
    return ++this.#taken <= this.#perSecond;
  }
}
