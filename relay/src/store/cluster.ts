import { setTimeout as sleep } from 'node:timers/promises';
import type { Limits } from '../limits/limits';
import type { Effect, Question } from '../room/effects';
import type { Room } from '../room/room';
import type { Message } from '../wire/instance-message';
import { type Connect, loadConnect, type RedisClient } from './redis-client';
import { type LinkOptions, RedisLink, reasonOf } from './redis-link';

/** How long a start waits for Redis before it goes on without. */
const START_MS = 5_000;
const RETRY_MS = 250;

export interface FleetOptions<P> {
  readonly redis: string | RedisClient;
  readonly room: Room<P>;
  readonly limits: Limits;
  readonly now: () => number;
  readonly perform: (effects: readonly Effect<P>[]) => void;
  readonly log: (outcome: 'connected' | 'away', reason?: string) => void;
}

/** Connects a room to the other instances: asks what it asks, tells what it tells, and reports what they say. */
export class Fleet<P> {
  readonly #options: FleetOptions<P>;
  #link: RedisLink | undefined;
  #running: Promise<void> | undefined;
  #closed = new AbortController();

  constructor(options: FleetOptions<P>) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#link !== undefined;
  }

  /**
   * Resolves when Redis is there, after a few seconds without it, or when it is closed meanwhile.
   *
   * @throws Error where ioredis is not installed
   */
  async start(): Promise<void> {
    this.#closed = new AbortController();
    const connect = await loadConnect(this.#options.redis);
    let connected = () => {};
    const first = new Promise<void>((resolve) => {
      connected = resolve;
    });
    this.#running = this.#run(connect, connected);
    const waited = new AbortController();
    await Promise.race([first, this.#running, sleep(START_MS, undefined, waited)]);
    waited.abort();
  }

  ask(question: Question): void {
    void this.#answer(question, this.#link);
  }

  tell(instance: string, message: Message): void {
    void this.#deliver(instance, message, this.#link);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#running;
  }

  async #run(connect: Connect, connected: () => void): Promise<void> {
    const { room, log, perform, now, limits } = this.#options;
    const options: LinkOptions = {
      connect,
      closed: this.#closed.signal,
      limits,
      restingCodes: () => room.restingCodes(now()),
      instances: () => room.instances,
      hear: (letter) => perform(room.hear(letter, now())),
      loseInstance: (instance) => perform(room.loseInstance(instance, now())),
    };
    let last = '';
    while (!this.#closed.signal.aborted) {
      let reason: string;
      try {
        const link = await RedisLink.open(options);
        this.#link = link;
        room.connectOthers();
        log('connected');
        last = '';
        connected();
        reason = await link.lost;
        this.#link = undefined;
        perform(room.loseOthers(now()));
      } catch (error) {
        reason = reasonOf(error);
      }
      // Once, and not each time that it is tried again.
      if (reason !== last && !this.#closed.signal.aborted) log('away', reason);
      last = reason;
      await sleep(RETRY_MS, undefined, this.#closed).catch(() => {});
    }
  }

  async #answer(question: Question, link: RedisLink | undefined): Promise<void> {
    const { room, perform, now } = this.#options;
    const get = <T>(work: (link: RedisLink) => Promise<T>) =>
      link === undefined
        ? Promise.resolve('unavailable' as const)
        : work(link).catch(() => 'unavailable' as const);
    switch (question.type) {
      case 'claim': {
        const answer = await get((link) => link.claim(question));
        return perform(room.claimed(question, answer, now()));
      }
      case 'burn': {
        const answer = await get((link) => link.burn(question));
        const state = answer === 'unavailable' ? ({ state: answer } as const) : answer;
        return perform(room.burnt(question, state, now()));
      }
      case 'post': {
        const answer = await get((link) => link.post(question));
        return perform(room.posted(question, answer, now()));
      }
      case 'wait': {
        const answer = await get((link) => link.wait(question));
        return perform(room.waited(question, answer, now()));
      }
      case 'rest':
        return void (await get((link) => link.rest(question)));
      case 'withdraw':
        return void (await get((link) => link.withdraw(question)));
      case 'leave':
        return void (await get((link) => link.leave(question)));
    }
  }

  async #deliver(instance: string, message: Message, link: RedisLink | undefined): Promise<void> {
    const { room, perform, now } = this.#options;
    const { type, session } = message;
    const isThere = await link?.tell(instance, message).catch(() => false);
    const needsAnEar = type === 'join' || type === 'joined' || type === 'msg';
    // Where the link itself is lost, the room hears of that.
    if (isThere !== false || !needsAnEar || link?.isOver === true) return;
    perform(room.hear({ from: instance, message: { type: 'gone', session } }, now()));
  }
}
