import type { RedisNode } from './client';
import { type Mark, renewMark, writeMark } from './mark';
import { INSTANCE_SKEW_SECONDS } from './options';
import type { RedisFacts } from './remembers';

/**
 * How long a Redis that may have missed claims is not trusted. By then, the mark of the Redis that has these claims has expired,
 * and every process that used that Redis has noticed that it was the wrong one.
 */
export const SETTLE_MS = 3000;

/** When a Redis may be trusted. */
export interface Settled {
  /** Unix seconds: requests created earlier may have been claimed elsewhere. */
  readonly since: number;
  /** For how long no request may be accepted yet; not positive if that time is over. */
  readonly waitMs: number;
  /** The texts of the marks. */
  readonly texts: readonly string[];
}

/**
 * What a process knows about the marks that it finds. While a mark exists, all claims went to its Redis: if they had gone
 * elsewhere, nobody would have renewed it. So a missing mark shows a gap, and so does an unknown mark after this process has
 * accepted requests under another one.
 */
export class Tenure {
  readonly #waitSeconds: number;
  #since = 0;
  /** The marks of the last check, and when each was first seen; null before the first check. */
  #seen: ReadonlyMap<string, number> | null = null;
  /** The marks under which a request was last accepted. */
  #counted: ReadonlySet<string> = new Set();
  #acceptedMs = Number.NEGATIVE_INFINITY;
  #isReconnected = true;

  /** @param waitSeconds how much longer to wait after a gap */
  constructor(waitSeconds: number) {
    this.#waitSeconds = waitSeconds;
  }

  /** Notes that a request was accepted. */
  accepted(): void {
    this.#acceptedMs = Date.now();
  }

  /** Notes that from now on, requests may be accepted under the marks of the last check. */
  opened(): void {
    this.#counted = new Set(this.#seen?.keys());
  }

  /** Notes that a Redis that does not reveal its identity may now be another one. */
  reconnected(): void {
    this.#isReconnected = true;
  }

  /**
   * Renews the marks of all masters. It writes the marks that are missing, or that do not show a gap that this process knows about.
   */
  async settle(masters: readonly RedisNode[], facts: readonly RedisFacts[]): Promise<Settled> {
    const next = Math.ceil((Date.now() + SETTLE_MS) / 1000);
    const isNew = this.#isReconnected;
    const marks = await Promise.all(
      facts.map((fact, index) => this.#markOf(masters[index] as RedisNode, fact, next)),
    );
    const seen = new Map<string, number>();
    let waitMs = 0;
    for (const [index, { mark, since }] of marks.entries()) {
      const { run, nowMs } = facts[index] as RedisFacts;
      this.#since = Math.max(this.#since, (run === '' && isNew ? next : since) + this.#waitSeconds);
      const seenAt = this.#seen?.get(mark.id) ?? performance.now();
      seen.set(mark.id, seenAt);
      // Uses the clock of Redis, since the clocks of instances may differ.
      const isToldAge = nowMs !== undefined && mark.bornMs !== undefined && nowMs >= mark.bornMs;
      const ageMs = isToldAge ? nowMs - mark.bornMs : performance.now() - seenAt;
      waitMs = Math.max(waitMs, SETTLE_MS - ageMs);
    }
    this.#seen = seen;
    if (isNew) this.#isReconnected = false;
    return {
      since: this.#since,
      waitMs: Math.max(waitMs, this.#since * 1000 - Date.now()),
      texts: marks.map(({ mark }) => mark.text),
    };
  }

  async #markOf(node: RedisNode, fact: RedisFacts, next: number): Promise<{ mark: Mark; since: number }> {
    const { mark } = fact;
    // A mark far in the future, or an invalid one, is ignored: it must not lock everybody out.
    const isSane = mark !== null && mark.since <= next + INSTANCE_SKEW_SECONDS;
    if (!isSane || !(await renewMark(node, mark))) {
      return { mark: await writeMark(node, fact, next), since: next };
    }
    const isKnown = this.#seen === null || this.#seen.has(mark.id) || this.#counted.has(mark.id);
    // If this process has accepted requests since then, their claims are in another Redis, where nobody would look. Each process
    // checks that for itself, by its own clock.
    const isMissing = !isKnown && mark.since * 1000 <= this.#acceptedMs;
    return isMissing ? { mark: await writeMark(node, fact, next), since: next } : { mark, since: mark.since };
  }
}
