import { NonceStoreUnavailableError } from '../../core/errors/amesh-error';
import { asSentence, writeFix } from '../../core/errors/define-codes';
import { areDelegates, type NonceStore } from '../../core/nonces/nonce-store';
import { type Waiting, within } from '../../core/within';
import { warnOnce } from '../../process/log';
import { ClockWatch } from '../clock-watch';
import { tooManyNonces } from '../too-many-nonces';
import { askAddress } from './address';
import type { IoRedis, RedisNode } from './client';
import { RedisConnection } from './connection';
import { CLAIM, FULL } from './delegate-claim';
import { ioRedisProblem, toReason } from './load';
import { MARK_LASTS_MS, readMarker } from './mark';
import { type RedisNonceStoreOptions, readRedisNonceOptions } from './options';
import { problemOf, type RedisProblem } from './problem';
import { askRedis, type RedisFacts } from './remembers';
import type { RedisSource } from './source';
import { type Settled, Tenure } from './tenure';

/** How often to check that it is still the same Redis, and to renew its mark. */
const CHECK_EVERY_MS = 500;
const CHECK_AGAIN_MS = 100;
/** A Redis that does not respond within this time gets a new connection. */
const CHECK_TIMEOUT_MS = 2000;
/** A slower reply is too old: a mark that it renews could outlast the time for which others wait. */
const CHECK_WITHIN_MS = 750;
/** How long a reply is valid. */
const SURE_MS = MARK_LASTS_MS;

/** The errors of a cluster for keys of another node, or of none: the command was not executed. */
const ELSEWHERE = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) |same slots allocation group/;

/** Why every request is refused. */
type Closed = Pick<RedisProblem, 'why'> & Partial<RedisProblem>;

/**
 * A {@link NonceStore} that detects replays across any number of processes: one command per request. If Redis does not
 * answer in time, the request is refused.
 *
 * The store is in one of three states. Closed: there is no connection, or Redis may forget, or it is unknown since when it
 * remembers. Waiting: Redis may have missed claims until now, so the store waits for the next whole second, and `startedAt` then
 * separates earlier requests from later ones. Open: requests are accepted. A reply counts only if the store was open from the
 * command to the reply, and if the mark of that Redis was read after the claim. The open state ends unless it is confirmed.
 *
 * @see docs/production.md
 */
export class RedisNonceStore implements NonceStore {
  readonly #timeoutMs: number;
  readonly #maxDelegateNonces: number;
  readonly #source: RedisSource;
  readonly #tenure: Tenure;
  readonly #connection: RedisConnection;
  readonly #clock = new ClockWatch();
  /** Increased whenever what is known about Redis becomes invalid. */
  #generation = 0;
  #isSure = false;
  /** When the open state ends, by `performance.now()`. */
  #sureUntil = 0;
  #startedAt: number | undefined;
  /** The text of the mark, if one Redis has all keys. */
  #mark: string | undefined;
  #reading: Promise<boolean> | undefined;
  /** The nodes that were checked and may be trusted to remember. */
  #masters: readonly RedisNode[] = [];
  /** Why the store is closed although Redis answers. */
  #problem: Closed | null = null;
  #isChecking = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #waiting = new Set<() => void>();

  /**
   * @param from the URL of a Redis (`redis://`, `rediss://`), options, or a client of ioredis 5 or 6, which is
   *   duplicated and remains yours
   * @throws NonceStoreUnavailableError if ioredis is not installed, or has an unsupported major version
   * @throws TypeError for a missing, empty or invalid URL, naming REDIS_URL; for a wrong option
   */
  constructor(from: string | undefined | IoRedis | RedisNonceStoreOptions) {
    const { source, timeoutMs, maxDelegateNonces, waitSeconds } = readRedisNonceOptions(from);
    const problem = source.kind === 'client' ? null : ioRedisProblem();
    if (problem !== null) throw new NonceStoreUnavailableError(problem.why, undefined, problem.advice);
    this.#timeoutMs = timeoutMs;
    this.#maxDelegateNonces = maxDelegateNonces;
    this.#source = source;
    this.#tenure = new Tenure(waitSeconds);
    const events = { changed: () => this.#changed(), lost: () => this.#shut() };
    this.#connection = new RedisConnection(source, events, { enableAutoPipelining: true });
  }

  /**
   * Unix seconds: this Redis may not know the claims of requests that were created earlier. Undefined before the
   * first connection.
   */
  get startedAt(): number | undefined {
    return this.#startedAt;
  }

  /** @throws NonceStoreUnavailableError if Redis does not respond in time, is full, or may have forgotten nonces; after the clock was set back */
  claim(deviceId: string, nonce: string, keepUntilMs: number): Promise<boolean> {
    if (nonce.length !== 22) throw new TypeError('A nonce must have 22 base64url characters.');
    return within(
      this.#timeoutMs,
      (waiting) => this.#claim(deviceId, nonce, keepUntilMs, waiting),
      () => this.#unavailable(`Redis did not respond within ${this.#timeoutMs} ms`),
    );
  }

  /** Closes the connection. Pending and later claims are refused. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#shut({ why: 'The nonce store was closed.' });
    clearTimeout(this.#timer);
    this.#connection.close();
    for (const wake of this.#waiting) wake();
  }

  async #claim(deviceId: string, nonce: string, keepUntilMs: number, waiting: Waiting): Promise<boolean> {
    this.#clock.note(Date.now(), keepUntilMs);
    if (!this.#isOpen || waiting.isOver) await this.#opening(waiting);
    const generation = this.#generation;
    const reading = this.#readMark();
    let answer: unknown;
    try {
      answer = await this.#ask(deviceId, nonce, Math.max(1, Math.ceil(keepUntilMs - Date.now())));
    } catch (error) {
      const { message } = error as Error;
      if (message.includes('READONLY')) this.#changed();
      if (!ELSEWHERE.test(message)) throw this.#unavailable('Redis refused the command', error as Error);
      await this.#connection.relearn();
      return this.#claim(deviceId, nonce, keepUntilMs, waiting);
    }
    if (!(await reading) || !isSame(this.#connection.masters(), this.#masters)) this.#changed();
    if (generation !== this.#generation || !this.#isOpen)
      throw this.#unavailable('Redis changed during the claim');
    if (answer === 'OK') {
      this.#tenure.accepted();
      return true;
    }
    if (answer === null) return false;
    if (answer === FULL) throw tooManyNonces(this.#maxDelegateNonces);
    throw this.#unavailable('Redis returned an invalid reply');
  }

  #ask(deviceId: string, nonce: string, ttlMs: number): Promise<unknown> | undefined {
    const { client } = this.#connection;
    const key = `amesh:nonce:${deviceId}`;
    if (areDelegates(deviceId)) return client?.eval(CLAIM, 1, key, nonce, ttlMs, this.#maxDelegateNonces);
    return client?.set(`${key}:${nonce}`, '1', 'PX', ttlMs, 'NX');
  }

  get #isOpen(): boolean {
    return this.#isSure && performance.now() < this.#sureUntil;
  }

  /**
   * Whether the Redis of these claims also has the mark: databases can be swapped or emptied behind an open connection. The mark is
   * read once for all current claims. This runs before they are sent, so the mark is read after them.
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

  /** @throws NonceStoreUnavailableError if nobody waits for the result any more, or there will be none */
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
    if (waiting.isOver || this.#isClosed) throw this.#unavailable('There is no connection to Redis');
  }

  /** Forgets what is known about Redis: the connection is new, and may lead to another one. */
  #changed(): void {
    this.#tenure.reconnected();
    this.#shut();
    this.#check();
  }

  #shut(problem: Closed | null = null): void {
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

  /** Checks which Redis this is, at intervals: a connection may lead to another one without having closed. */
  #check(): void {
    if (this.#isChecking || this.#isClosed) return;
    this.#isChecking = true;
    clearTimeout(this.#timer);
    this.#checkOnce().then((waitMs) => {
      this.#isChecking = false;
      if (!this.#isClosed) this.#timer = setTimeout(() => this.#check(), waitMs).unref();
    });
  }

  /** @returns the time until the next check, in milliseconds */
  async #checkOnce(): Promise<number> {
    const generation = this.#generation;
    const askedAt = performance.now();
    const masters = this.#connection.masters();
    const [first] = masters;
    if (!this.#connection.isReady || first === undefined) return CHECK_EVERY_MS; // an event follows
    const asking = this.#connection.isCluster ? null : askAddress(this.#source, first, CHECK_WITHIN_MS);
    asking?.catch(() => {}); // awaited below
    let settled: Settled;
    try {
      const facts = await Promise.all(masters.map(askInTime));
      const problem = facts
        .map((fact) => problemOf(fact, this.#connection.isCluster, warnOnce))
        .find((problem) => problem !== null);
      if (problem !== undefined) {
        this.#shut(problem);
        warnOnce(`Every signed request is refused. ${problem.why} ${writeFix(problem.advice)}`);
        return CHECK_EVERY_MS;
      }
      if (asking !== null && (await asking) !== facts[0]?.run) {
        this.#shut({ why: 'The address of Redis leads to another Redis than before.' });
        first.disconnect(); // it reconnects itself
        return CHECK_AGAIN_MS;
      }
      if (performance.now() - askedAt > CHECK_WITHIN_MS) throw new Error('It responds too late.');
      settled = await inTime(() => this.#tenure.settle(masters, facts));
    } catch (error) {
      // A confirmed state stays valid until its time is over, or until a claim finds something else.
      this.#connection.failed(error as Error);
      return CHECK_AGAIN_MS;
    }
    if (generation !== this.#generation || !isSame(masters, this.#connection.masters())) return 0;
    this.#connection.succeeded();
    if (settled.waitMs <= 0) {
      this.#open(masters, settled, askedAt + SURE_MS);
      return Math.max(0, CHECK_EVERY_MS - (performance.now() - askedAt));
    }
    this.#shut({
      why: `Redis may have forgotten nonces; it counts from ${new Date(settled.since * 1000).toISOString()}.`,
    });
    return Math.min(settled.waitMs, CHECK_EVERY_MS);
  }

  /** @param what what happened, used if no problem is known: a sentence without its full stop */
  #unavailable(what: string, cause = this.#connection.reason): NonceStoreUnavailableError {
    const reason = cause === null ? undefined : toReason(cause);
    const why = this.#isOpen || reason === undefined ? `${what}.` : `${what}: ${asSentence(reason.message)}`;
    return new NonceStoreUnavailableError(this.#problem?.why ?? why, reason, this.#problem?.advice);
  }
}

/** Disconnects from a silent Redis, a replica, or something that cannot be asked: a new connection may lead elsewhere. */
async function askInTime(node: RedisNode): Promise<RedisFacts> {
  try {
    return await inTime(() => askRedis(node));
  } catch (error) {
    node.disconnect();
    throw error;
  }
}

function inTime<T>(run: () => Promise<T>): Promise<T> {
  return within(CHECK_TIMEOUT_MS, run, () => new Error('It does not respond.'));
}

function isSame(a: readonly RedisNode[], b: readonly RedisNode[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node));
}
