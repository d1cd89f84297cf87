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
}

export type Log = (event: string, outcome: string, session?: string, reason?: string) => void;

const MAX_REFUSALS_PER_SECOND = 10;

/** @param write gets each entry; where there is none, nothing is logged */
export function createLog(write: ((entry: RelayLogEntry) => void) | undefined): Log {
  let second = 0;
  let refusals = 0;
  return (event, outcome, session, reason) => {
    // Every message would be a line, and says nothing.
    if (write === undefined || event === 'message') return;
    const time = new Date();
    if (event === 'refused' && session === undefined) {
      // A stranger must not be able to fill a disk; the metrics count them all.
      const current = Math.floor(time.getTime() / 1000);
      if (current !== second) refusals = 0;
      second = current;
      if (++refusals > MAX_REFUSALS_PER_SECOND) return;
    }
    const more = {
      ...(session === undefined ? {} : { session }),
      ...(reason === undefined ? {} : { reason }),
    };
    write({ time: time.toISOString(), event, outcome, ...more });
  };
}
