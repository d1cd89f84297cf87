import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Limits } from '../limits/limits';
import type { RestingCode } from '../room/codes';
import type { Claim, ClaimAnswer } from '../room/effects';
import { type Envelope, type InstanceMessage, readEnvelope, writeEnvelope } from '../wire/instance-message';
import type { Connect, RedisConnection } from './redis-client';
import { RedisRequests } from './redis-requests';
import { EPOCH, HEARTBEAT, keys } from './redis-scripts';

/** How long Redis may take to respond before it counts as lost. */
const COMMAND_MS = 3_000;
const HEARTBEAT_MS = 1_000;
/** How long a heartbeat is kept: longer than the slowest interval. */
const ALIVE_MS = 5_000;
/** How long all instances wait after Redis lost its keys, so that each can write the codes that it issued. */
const SETTLE_MS = 2 * HEARTBEAT_MS;
/** How many codes are written at once. */
const BATCH = 500;

export interface RedisLinkOptions {
  readonly connect: Connect;
  /** Ends the link, whatever it is doing. */
  readonly closed: AbortSignal;
  readonly limits: Limits;
  /** The codes that no other instance may issue. */
  readonly restingCodes: () => Iterable<RestingCode>;
  /** The instances whose heartbeat is watched. */
  readonly instances: () => Iterable<string>;
  readonly receive: (envelope: Envelope) => void;
  readonly loseInstance: (instance: string) => void;
}

/**
 * A pair of connections to Redis, one for commands and one that listens. It ends with the first failure or timeout. The next link
 * has a new instance ID, so that nobody mistakes old messages for new ones.
 */
export class RedisLink {
  readonly instance = randomUUID();
  readonly requests: RedisRequests;
  /** Resolves when the link has ended, with the name that the system or Redis gives the reason. */
  readonly lost: Promise<string>;
  readonly #options: RedisLinkOptions;
  readonly #commands: RedisConnection;
  readonly #listener: RedisConnection;
  /** Aborts with the reason when the link ends. */
  readonly #over = new AbortController();
  #epoch = '';
  /** The instances that had no heartbeat last time. */
  #missing = new Set<string>();
  #isClosing = false;
  /** The first error of a connection. Failed commands and the end of the connection are only consequences. */
  #firstError: string | undefined;

  private constructor(options: RedisLinkOptions) {
    this.#options = options;
    const { signal } = this.#over;
    this.lost = new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve(String(signal.reason)), { once: true });
    });
    this.requests = new RedisRequests({
      instance: this.instance,
      limits: options.limits,
      run: (script, keys, values) => this.#run(script, keys, values),
    });
    [this.#commands, this.#listener] = [options.connect(), options.connect()];
    options.closed.addEventListener('abort', () => void this.#close(), { signal });
    for (const connection of [this.#commands, this.#listener]) {
      connection.on('error', (error) => {
        this.#firstError ??= reasonOf(error);
      });
      connection.on('end', () => this.#lose('closed'));
    }
    this.#listener.on('message', (_, text) => {
      const envelope = this.isOver ? null : readEnvelope(String(text), options.limits.messageBytes);
      if (envelope !== null) options.receive(envelope);
    });
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /**
   * Resolves when the codes of this instance are in Redis, and requests may be made.
   *
   * @throws Error if that fails; {@link reasonOf} returns the reason
   */
  static async open(options: RedisLinkOptions): Promise<RedisLink> {
    const link = new RedisLink(options);
    try {
      await link.#open();
      return link;
    } catch (error) {
      link.#lose(reasonOf(error));
      throw new Error(await link.lost);
    }
  }

  async claim(claim: Claim): Promise<ClaimAnswer> {
    const answer = await this.requests.claim(claim, this.#epoch);
    if (answer !== 'forgotten') return answer;
    this.#lose(answer);
    return 'unavailable';
  }

  /** @returns whether that instance receives messages */
  async tell(instance: string, message: InstanceMessage): Promise<boolean> {
    const text = writeEnvelope({ from: this.instance, message });
    return (await this.#inTime(this.#commands.publish(keys.channel(instance), text))) > 0;
  }

  /** Ends the link when all commands so far have been answered. */
  async #close(): Promise<void> {
    this.#isClosing = true; // so that no heartbeat comes after the last one is deleted
    if (!this.isOver) await this.#inTime(this.#commands.del(keys.instance(this.instance))).catch(() => {});
    this.#lose('closed');
  }

  #lose(reason: string): void {
    if (this.isOver) return;
    this.#over.abort(this.#firstError ?? reason);
    this.#commands.disconnect();
    this.#listener.disconnect();
  }

  async #open(): Promise<void> {
    await this.#inTime(Promise.all([this.#commands.connect(), this.#listener.connect()]));
    await this.#inTime(this.#listener.subscribe(keys.channel(this.instance)));
    const answer = await this.#run(EPOCH, [keys.epoch, keys.settling], [randomUUID(), String(SETTLE_MS)]);
    const [epoch, settleMs] = answer as [string, number];
    this.#epoch = String(epoch);
    await this.#beat();
    void this.#keepBeating();
    await this.#writeRestingCodes();
    if (settleMs > 0) await this.#sleep(Math.min(settleMs, SETTLE_MS));
    if (this.isOver) throw new Error('closed');
  }

  /** Keeps other instances from issuing the codes of this one, even if Redis has forgotten them. */
  async #writeRestingCodes(): Promise<void> {
    let batch: Promise<unknown>[] = [];
    for (const { code, restMs, isBurnt, session } of this.#options.restingCodes()) {
      const unowned = isBurnt ? 'used' : 'over';
      const value = session === undefined ? unowned : `used ${this.instance} ${session}`;
      batch.push(this.#inTime(this.#commands.set(keys.code(code), value, 'PX', String(restMs))));
      if (batch.length < BATCH) continue;
      await Promise.all(batch);
      batch = [];
    }
    await Promise.all(batch);
  }

  async #keepBeating(): Promise<void> {
    try {
      for (;;) {
        await this.#sleep(HEARTBEAT_MS);
        if (this.isOver || this.#isClosing) return;
        await this.#beat();
      }
    } catch (error) {
      this.#lose(reasonOf(error));
    }
  }

  /** Writes the heartbeat of this instance, and looks for those of the others. */
  async #beat(): Promise<void> {
    const others = [...this.#options.instances()];
    const watched = [keys.epoch, ...[this.instance, ...others].map(keys.instance)];
    const answer = (await this.#run(HEARTBEAT, watched, [String(ALIVE_MS)])) as (string | null)[];
    const [epoch, ...heartbeats] = answer;
    if (epoch !== this.#epoch) throw new Error('forgotten');
    // An instance is lost if it is missing twice: if a whole machine was paused, the others need time for their heartbeat.
    const missing = others.filter((_, i) => heartbeats[i] !== '1');
    const lost = missing.filter((instance) => this.#missing.has(instance));
    this.#missing = new Set(missing);
    for (const instance of lost) this.#options.loseInstance(instance);
  }

  #run(script: string, keys: readonly string[], values: readonly string[]): Promise<unknown> {
    return this.#inTime(this.#commands.eval(script, keys.length, ...keys, ...values));
  }

  /** Returns an answer of Redis, or rejects after the time limit. Any failure except a refusal by Redis ends the link. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('timeout')), COMMAND_MS);
    });
    try {
      return await Promise.race([work, late]);
    } catch (error) {
      if ((error as Error).name !== 'ReplyError') this.#lose(reasonOf(error));
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves after this time, or when the link ends. */
  #sleep(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#over.signal }).catch(() => {});
  }
}

/** The name that the system or Redis gives an error, such as ECONNREFUSED or WRONGPASS. It never contains a host or name. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === 'string' && /^[A-Z_]+$/.test(code)) return code;
  return /^(?:[A-Z]{2,}\b|(?:closed|forgotten|timeout)$)/.exec(String(message))?.[0] ?? 'closed';
}
