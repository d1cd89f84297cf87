import { NonceStoreUnavailableError } from '../../core/errors/amesh-error';
import type { NonceStore } from '../../core/nonces/nonce-store';
import { type Waiting, within } from '../../core/within';
import { warnOnce } from '../../process/log';
import { ClockWatch } from '../clock-watch';
import { askAddress } from './address';
import type { IoRedis, RedisNode } from './client';
import { RedisConnection } from './connection';
import { ioRedisProblem } from './load';
import { MARK_LASTS_MS, readMarker } from './mark';
import { type RedisNonceStoreOptions, readRedisNonceOptions } from './options';
import { problemOf } from './problem';
import { toReason } from './reason';
import { askRedis, type RedisFacts } from './remembers';
import type { RedisSource } from './source';
import { type Settled, Tenure } from './tenure';

/** How often a Redis is asked whether it is still the one that it was, and its mark is renewed. */
const CHECK_EVERY_MS = 500;
const CHECK_AGAIN_MS = 100;
/** One that does not answer for so long gets a new connection. */
const CHECK_TIMEOUT_MS = 2000;
/** An answer that took longer says too little of now: a mark renewed by it could outlive the wait for it. */
const CHECK_WITHIN_MS = 750;
/** For how long an answer counts. */
const SURE_MS = MARK_LASTS_MS;

/** What a cluster says of keys that another node has, or nobody has yet: the command was not carried out. */
const ELSEWHERE = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) |same slots allocation group/;

/**
 * A {@link NonceStore} that is exact for any number of processes: one `SET … NX` a request. What Redis cannot say in
 * time is refused.
 *
 * States: closed (no connection, or not known since when that Redis remembers, or it may forget), waiting (it may have
 * missed claims until just now: until a whole second, so that `startedAt` divides what was before from what comes), open.
 * Only in the last one anybody is let in, and an answer counts only if it was open from the question to the answer, and if
 * the mark of that Redis was read behind the claim. Open ends by itself where nothing confirms it.
 *
 * @see docs/production.md
 */
export class RedisNonceStore implements NonceStore {
  readonly #timeoutMs: number;
  readonly #source: RedisSource;
  readonly #tenure: Tenure;
  readonly #connection: RedisConnection;
  readonly #clock = new ClockWatch();
  /** Counted up whenever what was known of Redis does not hold any more. */
  #generation = 0;
  #isSure = false;
  /** Until when it is, by `performance.now()`. */
  #sureUntil = 0;
  #startedAt: number | undefined;
  /** The text of the mark, where one Redis has all keys. */
  #mark: string | undefined;
  #reading: Promise<boolean> | undefined;
  /** Those that were asked and may be trusted to remember. */
  #masters: readonly RedisNode[] = [];
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
    if (problem !== null) throw new NonceStoreUnavailableError(problem.why, undefined, problem.advice);
    this.#timeoutMs = timeoutMs;
    this.#source = source;
    this.#tenure = new Tenure(waitSeconds);
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
      () => this.#unavailable(`Redis did not respond within ${this.#timeoutMs} ms.`),
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
    const reading = this.#readMark();
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
    if (!(await reading) || !isSame(this.#connection.masters(), this.#masters)) this.#changed();
    if (generation !== this.#generation || !this.#isOpen)
      throw this.#unavailable('Redis changed while it was asked.');
    if (answer === 'OK') {
      this.#tenure.accepted();
      return true;
    }
    if (answer === null) return false;
    throw this.#unavailable('Redis gave an answer that is none.');
  }

  get #isOpen(): boolean {
    return this.#isSure && performance.now() < this.#sureUntil;
  }

  /**
   * Whether what has the claims of this moment has the mark, too: databases can be swapped, and emptied, behind an open
   * connection. It is read once for all of them, and behind them: this comes before what sends them.
   */
  #readMark(): Promise<boolean> {
    const [node] = this.#masters;
    if (node === undefined || this.#connection.isCluster) return Promise.resolve(true);
    this.#reading ??= new Promise((resolve) => {
      setImmediate(() => {
        const mark = this.#mark;
        this.#reading = undefined;
        readMarker(node).then(
          (text) => resolve(text === mark),
          () => resolve(false),
        );
      });
    });
    return this.#reading;
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

  /** The connection is new, and may lead to another Redis than before. */
  #changed(): void {
    this.#tenure.reconnected();
    this.#shut();
    this.#check();
  }

  #shut(problem: string | null = null): void {
    this.#generation++;
    this.#isSure = false;
    this.#problem = problem;
  }

  #open(masters: readonly RedisNode[], { since, texts }: Settled, sureUntil: number): void {
    this.#masters = masters;
    this.#startedAt = since;
    this.#mark = texts[0];
    this.#tenure.opened();
    this.#isSure = true;
    this.#sureUntil = sureUntil;
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
    const askedAt = performance.now();
    const masters = this.#connection.masters();
    const [first] = masters;
    if (!this.#connection.isReady || first === undefined) return CHECK_EVERY_MS; // it will say when
    const asking = this.#connection.isCluster ? null : askAddress(this.#source, first, CHECK_WITHIN_MS);
    asking?.catch(() => {}); // it is waited for below
    let settled: Settled;
    try {
      const facts = await Promise.all(masters.map(askInTime));
      const problem = facts
        .map((fact) => problemOf(fact, this.#connection.isCluster, warnOnce))
        .find(Boolean);
      if (problem) {
        this.#shut(problem);
        warnOnce(`No signed request is let in. ${problem}`);
        return CHECK_EVERY_MS;
      }
      if (asking !== null && (await asking) !== facts[0]?.run) {
        this.#shut('The address of Redis leads to another one than before.');
        first.disconnect(); // it connects anew by itself
        return CHECK_AGAIN_MS;
      }
      if (performance.now() - askedAt > CHECK_WITHIN_MS) throw new Error('It answers too late.');
      settled = await inTime(() => this.#tenure.settle(masters, facts));
    } catch (error) {
      // What was sure stays so until it ends, or until a claim finds something else.
      this.#connection.failed(error as Error);
      return CHECK_AGAIN_MS;
    }
    if (generation !== this.#generation || !isSame(masters, this.#connection.masters())) return 0;
    this.#connection.succeeded();
    if (settled.waitMs <= 0) {
      this.#open(masters, settled, askedAt + SURE_MS);
      return Math.max(0, CHECK_EVERY_MS - (performance.now() - askedAt));
    }
    this.#shut(
      `Redis may have forgotten nonces; from ${new Date(settled.since * 1000).toISOString()} on it counts.`,
    );
    return Math.min(settled.waitMs, CHECK_EVERY_MS);
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

function inTime<T>(run: () => Promise<T>): Promise<T> {
  return within(CHECK_TIMEOUT_MS, run, () => new Error('It does not answer.'));
}

function isSame(a: readonly RedisNode[], b: readonly RedisNode[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node));
}
