import { NonceStoreUnavailableError } from '../../core/errors';
import type { NonceStore } from '../../core/nonce-memory';
import { warnOnce } from '../../log';
import { ClockWatch } from '../clock-watch';
import type { IoRedis, RedisNode } from './client';
import { RedisConnection } from './connection';
import { ioRedisProblem } from './load';
import { INSTANCE_SKEW_SECONDS, type RedisNonceStoreOptions, readRedisNonceOptions } from './options';
import { problemOf } from './problem';
import { toReason } from './reason';
import { askRedis, mark, type RedisFacts } from './remembers';
import { type Waiting, within } from './within';

/** How often a Redis is asked whether it is still the one that it was. */
const CHECK_EVERY_MS = 1000;
const CHECK_AGAIN_MS = 100;
/** One that does not answer for so long gets a new connection. */
const CHECK_TIMEOUT_MS = 2000;

/** What a cluster says of keys that another node has, or nobody has yet: the command was not carried out. */
const ELSEWHERE = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) |same slots allocation group/;

/**
 * A {@link NonceStore} that is exact for any number of processes: one `SET … NX` a request. What Redis cannot say in
 * time is refused.
 *
 * States: closed (no connection, or not known since when that Redis remembers, or it may forget), waiting (it may have
 * forgotten just now: until the next whole second, so that `startedAt` divides what was before from what comes), open.
 * Only in the last one anybody is let in, and an answer counts only if it was open from the question to the answer.
 *
 * @see docs/production.md
 */
export class RedisNonceStore implements NonceStore {
  readonly #timeoutMs: number;
  readonly #waitSeconds: number;
  readonly #connection: RedisConnection;
  readonly #clock = new ClockWatch();
  /** Counted up whenever what was known of Redis does not hold any more. */
  #generation = 0;
  #isOpen = false;
  #startedAt: number | undefined;
  /** What `startedAt` will be when it opens. */
  #since = 0;
  /** Those that were asked and may be trusted to remember. */
  #masters: readonly RedisNode[] = [];
  /** Every run of a Redis that this process has counted on, with what its marker said last. */
  #runs: Map<string, number | undefined> | null = null;
  /** Why it is closed, where Redis itself is not what is missing. */
  #problem: string | null = null;
  #isChecking = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #waiting = new Set<() => void>();

  /**
   * @param from the URL of a Redis (`redis://`, `rediss://`), options, or a client of ioredis 5 or 6, which is
   *   duplicated and stays yours
   * @throws NonceStoreUnavailableError where ioredis is not installed, or of another major
   * @throws TypeError for a URL that is undefined, empty or no such URL, naming REDIS_URL; for a wrong option
   */
  constructor(from: string | undefined | IoRedis | RedisNonceStoreOptions) {
    const { source, timeoutMs, waitSeconds } = readRedisNonceOptions(from);
    const problem = source.kind === 'client' ? null : ioRedisProblem();
    if (problem !== null) throw new NonceStoreUnavailableError(problem.why, undefined, problem.fix);
    this.#timeoutMs = timeoutMs;
    this.#waitSeconds = waitSeconds;
    const events = { changed: () => this.#changed(), lost: () => this.#shut() };
    this.#connection = new RedisConnection(source, events, { enableAutoPipelining: true });
  }

  /**
   * Unix seconds: what was created earlier may have been claimed where this Redis does not know of it. Undefined
   * before the first connection.
   */
  get startedAt(): number | undefined {
    return this.#startedAt;
  }

  /** @throws NonceStoreUnavailableError where Redis does not answer in time, is full, or may have forgotten; after the clock was set back */
  claim(deviceId: string, nonce: string, keepUntilMs: number): Promise<boolean> {
    if (nonce.length !== 22) throw new TypeError('A nonce is of 22 base64url characters.');
    return within(
      this.#timeoutMs,
      (waiting) => this.#claim(`amesh:nonce:${deviceId}:${nonce}`, keepUntilMs, waiting),
      () => this.#unavailable(`Redis did not answer within ${this.#timeoutMs} ms.`),
    );
  }

  /** Ends the connection. Claims that are on their way, and all later ones, are refused. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#shut('The nonce store was closed.');
    clearTimeout(this.#timer);
    this.#connection.close();
    for (const wake of this.#waiting) wake();
  }

  async #claim(key: string, keepUntilMs: number, waiting: Waiting): Promise<boolean> {
    this.#clock.note(Date.now(), keepUntilMs);
    if (!this.#isOpen || waiting.isOver) await this.#opening(waiting);
    const generation = this.#generation;
    let answer: unknown;
    try {
      const ttlMs = Math.max(1, Math.ceil(keepUntilMs - Date.now()));
      answer = await this.#connection.client?.set(key, '1', 'PX', ttlMs, 'NX');
    } catch (error) {
      const { message } = error as Error;
      if (message.startsWith('READONLY')) this.#changed();
      if (!ELSEWHERE.test(message)) throw this.#unavailable('Redis refused.', error as Error);
      await this.#connection.relearn();
      return this.#claim(key, keepUntilMs, waiting);
    }
    if (!isSame(this.#connection.masters(), this.#masters)) this.#changed();
    if (generation !== this.#generation) throw this.#unavailable('Redis changed while it was asked.');
    if (answer === 'OK') return true;
    if (answer === null) return false;
    throw this.#unavailable('Redis gave an answer that is none.');
  }

  /** @throws NonceStoreUnavailableError where nobody waits for the answer any more, or none will ever come */
  async #opening(waiting: Waiting): Promise<void> {
    while (!this.#isOpen && !waiting.isOver && !this.#isClosed) {
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
        waiting.whenOver = () => {
          this.#waiting.delete(resolve);
          resolve();
        };
      });
    }
    if (waiting.isOver || this.#isClosed) throw this.#unavailable('There is no connection to Redis.');
  }

  /** Whatever is behind the connection, nothing is known of it yet. */
  #changed(): void {
    this.#runs?.delete(''); // one that does not say who it is may be another one each time
    this.#shut();
    this.#check();
  }

  #shut(problem: string | null = null): void {
    this.#generation++;
    this.#isOpen = false;
    this.#problem = problem;
  }

  #open(masters: readonly RedisNode[], startedAt: number): void {
    this.#masters = masters;
    this.#startedAt = startedAt;
    this.#isOpen = true;
    this.#problem = null;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Asks Redis who it is, and again after a while: a connection may lead to another one without having ended. */
  #check(): void {
    if (this.#isChecking || this.#isClosed) return;
    this.#isChecking = true;
    clearTimeout(this.#timer);
    this.#checkOnce().then((waitMs) => {
      this.#isChecking = false;
      if (!this.#isClosed) this.#timer = setTimeout(() => this.#check(), waitMs).unref();
    });
  }

  /** @returns after how many milliseconds to ask again */
  async #checkOnce(): Promise<number> {
    const generation = this.#generation;
    const masters = this.#connection.masters();
    if (!this.#connection.isReady || masters.length === 0) return CHECK_EVERY_MS; // it will say when
    let facts: RedisFacts[];
    let startedAt: number;
    try {
      facts = await Promise.all(masters.map(askInTime));
      for (const fact of facts) {
        const problem = problemOf(fact, this.#connection.isCluster, warnOnce);
        if (problem === null) continue;
        this.#shut(problem);
        warnOnce(`No signed request is let in. ${problem}`);
        return CHECK_EVERY_MS;
      }
      startedAt = await this.#rememberedSince(masters, facts);
    } catch (error) {
      this.#shut();
      this.#connection.failed(error as Error);
      return CHECK_AGAIN_MS;
    }
    if (generation !== this.#generation || !isSame(masters, this.#connection.masters())) return 0;
    this.#connection.succeeded();
    this.#runs = new Map([...(this.#runs ?? []), ...facts.map(({ run, since }) => [run, since] as const)]);
    const waitMs = startedAt * 1000 - Date.now();
    if (waitMs <= 0) {
      this.#open(masters, startedAt);
      return CHECK_EVERY_MS;
    }
    this.#shut(
      `Redis may have forgotten nonces; from ${new Date(startedAt * 1000).toISOString()} on it counts.`,
    );
    return Math.min(waitMs, CHECK_EVERY_MS);
  }

  /** Since when all of them remember together, Unix seconds; marks those that did not know. */
  async #rememberedSince(masters: readonly RedisNode[], facts: readonly RedisFacts[]): Promise<number> {
    // A whole second: what was created in the one that runs may have been forgotten.
    const next = Math.floor(Date.now() / 1000) + 1;
    for (const [index, fact] of facts.entries()) {
      if (fact.since === undefined) await markInTime(masters[index] as RedisNode, fact, next);
      this.#since = Math.max(this.#since, this.#sinceOf(fact, next) + this.#waitSeconds);
    }
    return this.#since;
  }

  #sinceOf({ run, since }: RedisFacts, next: number): number {
    // Where this process has lived through the change its own clock counts: those of others may be behind.
    const isKnown = this.#runs === null ? run !== '' : this.#runs.has(run);
    if (since === undefined || !isKnown) return next;
    if (since <= next + INSTANCE_SKEW_SECONDS) return since;
    // By a clock that is far ahead, or nonsense: it locks nobody out. That it came counts as a change.
    return this.#runs?.get(run) === since ? 0 : next;
  }

  #unavailable(otherwise: string, cause = this.#connection.reason): NonceStoreUnavailableError {
    const reason = cause === null ? undefined : toReason(cause);
    const about =
      this.#isOpen || reason === undefined ? otherwise : `${otherwise.slice(0, -1)}: ${reason.message}.`;
    return new NonceStoreUnavailableError(this.#problem ?? about, reason);
  }
}

/** Gives up on one that is silent, a replica, or nothing that can be asked: a new connection may lead to another. */
async function askInTime(node: RedisNode): Promise<RedisFacts> {
  try {
    return await inTime(() => askRedis(node));
  } catch (error) {
    node.disconnect();
    throw error;
  }
}

function markInTime(node: RedisNode, facts: RedisFacts, since: number): Promise<void> {
  return inTime(() => mark(node, facts, since));
}

function inTime<T>(run: () => Promise<T>): Promise<T> {
  return within(CHECK_TIMEOUT_MS, run, () => new Error('It does not answer.'));
}

function isSame(a: readonly RedisNode[], b: readonly RedisNode[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node));
}
