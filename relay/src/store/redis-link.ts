import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Limits } from '../limits/limits';
import type { RestingCode } from '../room/codes';
import type {
  Burn,
  BurnAnswer,
  Claim,
  ClaimAnswer,
  Leave,
  Post,
  PostAnswer,
  Rest,
  Wait,
  WaitAnswer,
  Withdraw,
} from '../room/effects';
import { isId, type Letter, type Message, readLetter, writeLetter } from '../wire/instance-message';
import type { Connect, RedisConnection } from './redis-client';
import { BEAT, BURN, CLAIM, EPOCH, keys, LEAVE, POST, REST, WAIT, WITHDRAW } from './redis-scripts';

/** After how long without an answer Redis counts as gone. */
const COMMAND_MS = 3_000;
/** How often an instance gives a sign of life, and how long one holds: for a beat that takes as long as it may. */
const BEAT_MS = 1_000;
const ALIVE_MS = 5_000;
/** How long all wait where Redis has lost its memory, so that each can say first which codes it gave out: two beats. */
const SETTLE_MS = 2_000;
/** How many codes are sent at once. */
const BATCH = 500;

/** What a link is told to do beside what is asked of it. */
export interface LinkOptions {
  readonly connect: Connect;
  /** Aborts when it is to close, whatever it is at. */
  readonly closed: AbortSignal;
  readonly limits: Limits;
  /** Codes to be kept from the others. */
  readonly restingCodes: () => Iterable<RestingCode>;
  /** Whose signs of life are watched. */
  readonly instances: () => Iterable<string>;
  readonly hear: (letter: Letter) => void;
  readonly loseInstance: (instance: string) => void;
}

/**
 * One connection to Redis, or rather two, one of which only listens. It lives until something fails or takes too long,
 * and never comes back; the next one is another instance to all others, so nothing that was under way is mistaken for
 * something new.
 */
export class RedisLink {
  readonly instance = randomUUID();
  /** Resolves when it does not work any more, with what the system or Redis calls the reason. */
  readonly lost: Promise<string>;
  readonly #options: LinkOptions;
  readonly #commands: RedisConnection;
  readonly #listener: RedisConnection;
  readonly #over = new AbortController();
  #epoch = '';
  /** Who gave no sign of life at the last beat. */
  #missing = new Set<string>();
  #isClosing = false;
  /** What a connection has complained of; that it has closed, or that a command has failed, only follows from it. */
  #complaint: string | undefined;
  #lose: (reason: string) => void = () => {};

  private constructor(options: LinkOptions) {
    this.#options = options;
    this.lost = new Promise((resolve) => {
      this.#lose = (reason) => {
        if (this.isOver) return;
        this.#over.abort();
        this.#commands.disconnect();
        this.#listener.disconnect();
        resolve(this.#complaint ?? reason);
      };
    });
    [this.#commands, this.#listener] = [options.connect(), options.connect()];
    options.closed.addEventListener('abort', () => void this.#close(), { signal: this.#over.signal });
    for (const connection of [this.#commands, this.#listener]) {
      connection.on('error', (error) => {
        this.#complaint ??= reasonOf(error);
      });
      connection.on('end', () => this.#lose('closed'));
    }
    this.#listener.on('message', (_, text) => {
      const letter = this.isOver ? null : readLetter(String(text), options.limits.messageBytes);
      if (letter !== null) options.hear(letter);
    });
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /**
   * Resolves when the others know which codes this instance has given out, and it may ask for more.
   *
   * @throws Error where that fails, of which {@link reasonOf} knows the reason
   */
  static async open(options: LinkOptions): Promise<RedisLink> {
    const link = new RedisLink(options);
    try {
      await link.#open();
      return link;
    } catch (error) {
      link.#lose(reasonOf(error));
      throw new Error(await link.lost);
    }
  }

  async claim({ code, session }: Claim): Promise<ClaimAnswer> {
    const { codeMs, codeRestMs } = this.#options.limits;
    const value = `open ${this.instance} ${session}`;
    const answer = await this.#eval(
      CLAIM,
      [keys.code(code), keys.epoch],
      [this.#epoch, value, String(codeMs + codeRestMs)],
    );
    if (answer === 'claimed' || answer === 'taken') return answer;
    this.#lose('forgotten');
    return 'unavailable';
  }

  async burn({ code }: Burn): Promise<BurnAnswer> {
    const value = await this.#eval(BURN, [keys.code(code)], [String(this.#options.limits.codeRestMs)]);
    const [state, owner, session] = String(value).split(' ');
    if (state !== 'open' && state !== 'used') return { state: 'unknown' };
    if (isId(owner) && isId(session)) {
      const instance = owner === this.instance ? null : owner;
      return { state: state === 'open' ? 'burnt' : 'used', instance, session };
    }
    return { state: state === 'open' ? 'unknown' : 'used' };
  }

  async rest({ code, session }: Rest): Promise<void> {
    const value = `open ${this.instance} ${session}`;
    await this.#eval(REST, [keys.code(code)], [value, String(this.#options.limits.codeRestMs)]);
  }

  async post({ box, body }: Post): Promise<PostAnswer> {
    // A letter with a gap, since only Redis knows who waits.
    const before = '{"type":"mail","session":"';
    const after = `","body":${JSON.stringify(body)},"from":"${this.instance}"}`;
    const answer = await this.#eval(
      POST,
      [keys.box(box)],
      [
        `full ${JSON.stringify(body)}`,
        String(this.#options.limits.sessionMs),
        keys.channel(''),
        before,
        after,
      ],
    );
    return answer === 'stored' || answer === 'delivered' ? answer : 'used';
  }

  async wait({ box, session }: Wait): Promise<WaitAnswer> {
    const value = `wait ${this.instance} ${session}`;
    const { sessionMs, messageBytes } = this.#options.limits;
    const answer = await this.#eval(WAIT, [keys.box(box)], [value, String(sessionMs), keys.instance('')]);
    if (answer === 'waiting' || answer === 'used') return answer;
    const body: unknown = JSON.parse(String(answer).slice('full '.length));
    if (typeof body !== 'string' || Buffer.byteLength(body) > messageBytes) return 'used';
    return { body };
  }

  async leave({ box, session }: Leave): Promise<void> {
    await this.#eval(LEAVE, [keys.box(box)], [`wait ${this.instance} ${session}`]);
  }

  async withdraw({ box, body }: Withdraw): Promise<void> {
    await this.#eval(
      WITHDRAW,
      [keys.box(box)],
      [body === undefined ? 'done' : `full ${JSON.stringify(body)}`],
    );
  }

  /** @returns whether there is such an instance */
  async tell(instance: string, message: Message): Promise<boolean> {
    const text = writeLetter({ from: this.instance, message });
    return (await this.#within(this.#commands.publish(keys.channel(instance), text))) > 0;
  }

  /** Ends it when all that was sent has got its answer. */
  async #close(): Promise<void> {
    this.#isClosing = true; // no sign of life after the last
    if (!this.isOver) await this.#within(this.#commands.del(keys.instance(this.instance))).catch(() => {});
    this.#lose('closed');
  }

  async #open(): Promise<void> {
    await this.#within(Promise.all([this.#commands.connect(), this.#listener.connect()]));
    await this.#within(this.#listener.subscribe(keys.channel(this.instance)));
    const ids = [randomUUID(), String(SETTLE_MS)];
    const answer = await this.#eval(EPOCH, [keys.epoch, keys.settling], ids);
    const [epoch, settleMs] = answer as [string, number];
    this.#epoch = String(epoch);
    await this.#beat();
    void this.#beatOn();
    let batch: Promise<unknown>[] = [];
    for (const resting of this.#options.restingCodes()) {
      batch.push(this.#keep(resting));
      if (batch.length < BATCH) continue;
      await Promise.all(batch);
      batch = [];
    }
    await Promise.all(batch);
    if (settleMs > 0) await this.#sleep(Math.min(settleMs, SETTLE_MS));
    if (this.isOver) throw new Error('closed');
  }

  /** Keeps a code from being given out, whatever Redis still knows of it. */
  #keep({ code, restMs, isBurnt, session }: RestingCode): Promise<unknown> {
    const unowned = isBurnt ? 'used' : 'over';
    const value = session === undefined ? unowned : `used ${this.instance} ${session}`;
    return this.#within(this.#commands.set(keys.code(code), value, 'PX', String(restMs)));
  }

  async #beatOn(): Promise<void> {
    try {
      for (;;) {
        await this.#sleep(BEAT_MS);
        if (this.isOver || this.#isClosing) return;
        await this.#beat();
      }
    } catch (error) {
      this.#lose(reasonOf(error));
    }
  }

  async #beat(): Promise<void> {
    const others = [...this.#options.instances()];
    const watched = [keys.epoch, ...[this.instance, ...others].map(keys.instance)];
    const [epoch, ...signs] = (await this.#eval(BEAT, watched, [String(ALIVE_MS)])) as (string | null)[];
    if (epoch !== this.#epoch) throw new Error('forgotten');
    // At two beats: where a whole machine has stood still, the others need a moment to say that they are there.
    const missing = others.filter((_, i) => signs[i] !== '1');
    const lost = missing.filter((instance) => this.#missing.has(instance));
    this.#missing = new Set(missing);
    for (const instance of lost) this.#options.loseInstance(instance);
  }

  #eval(script: string, keys: string[], values: string[]): Promise<unknown> {
    return this.#within(this.#commands.eval(script, keys.length, ...keys, ...values));
  }

  /** Whoever asks gets an answer in time, or an error. */
  async #within<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('timeout')), COMMAND_MS);
    });
    try {
      return await Promise.race([work, late]);
    } catch (error) {
      // What Redis refuses is an answer.
      if ((error as Error).name !== 'ReplyError') this.#lose(reasonOf(error));
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Until then, or until it is lost. */
  #sleep(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#over.signal }).catch(() => {});
  }
}

/** What the system or Redis calls it, such as ECONNREFUSED or WRONGPASS, and never a host or a name. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === 'string' && /^[A-Z_]+$/.test(code)) return code;
  return /^(?:[A-Z]{2,}\b|(?:closed|forgotten|timeout)$)/.exec(String(message))?.[0] ?? 'closed';
}
