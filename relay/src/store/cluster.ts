import { setTimeout as sleep } from 'node:timers/promises';
import type { Limits } from '../limits/limits';
import type { ClusterRequest, Effect } from '../room/effects';
import type { Room } from '../room/room';
import type { InstanceMessage } from '../wire/instance-message';
import { type Connect, loadConnect, type RedisClient } from './redis-client';
import { RedisLink, type RedisLinkOptions, reasonOf } from './redis-link';

/** How long a start waits for Redis before it continues without Redis. */
const START_MS = 5_000;
const RETRY_MS = 250;

/** Messages that need an instance to receive them. If no instance receives one, the session is over. */
const NEEDS_RECEIVER: ReadonlySet<InstanceMessage['type']> = new Set(['join', 'joined', 'msg']);

export interface ClusterOptions<S> {
  readonly redis: string | RedisClient;
  readonly room: Room<S>;
  readonly limits: Limits;
  readonly now: () => number;
  /** Carries out the effects that the room returns. */
  readonly perform: (effects: readonly Effect<S>[]) => void;
  readonly log: (outcome: 'connected' | 'away', reason?: string) => void;
}

/**
 * Connects a room to the other instances: carries out its requests, sends its messages, and passes it the messages of the others.
 */
export class Cluster<S> {
  readonly #options: ClusterOptions<S>;
  #link: RedisLink | undefined;
  #running: Promise<void> | undefined;
  #closed = new AbortController();

  constructor(options: ClusterOptions<S>) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#link !== undefined;
  }

  /**
   * Resolves when Redis is connected, after a few seconds without it, or when the cluster is closed.
   *
   * @throws Error if ioredis is not installed
   */
  async start(): Promise<void> {
    this.#closed = new AbortController();
    const connect = await loadConnect(this.#options.redis);
    const connected = new Promise<void>((resolve) => {
      this.#running = this.#run(connect, resolve);
    });
    const waited = new AbortController();
    await Promise.race([connected, this.#running, sleep(START_MS, undefined, { signal: waited.signal })]);
    waited.abort();
  }

  ask(request: ClusterRequest): void {
    void this.#answer(request, this.#link);
  }

  tell(instance: string, message: InstanceMessage): void {
    void this.#deliver(instance, message, this.#link);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#running;
  }

  /** Maintains a link to Redis until the cluster is closed. */
  async #run(connect: Connect, onConnected: () => void): Promise<void> {
    const options = this.#linkOptions(connect);
    const { signal } = this.#closed;
    let lastReason = '';
    while (!signal.aborted) {
      let reason: string;
      try {
        const link = await RedisLink.open(options);
        lastReason = '';
        reason = await this.#use(link, onConnected);
      } catch (error) {
        reason = reasonOf(error);
      }
      // Logged once, not for each attempt.
      if (reason !== lastReason && !signal.aborted) this.#options.log('away', reason);
      lastReason = reason;
      await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** Uses a link until it is lost. @returns the reason of the loss */
  async #use(link: RedisLink, onConnected: () => void): Promise<string> {
    const { room, log, perform, now } = this.#options;
    this.#link = link;
    room.connectCluster();
    log('connected');
    onConnected();
    const reason = await link.lost;
    this.#link = undefined;
    perform(room.loseCluster(now()));
    return reason;
  }

  #linkOptions(connect: Connect): RedisLinkOptions {
    const { room, perform, now, limits } = this.#options;
    return {
      connect,
      closed: this.#closed.signal,
      limits,
      restingCodes: () => room.restingCodes(now()),
      instances: () => room.instances,
      receive: (envelope) => perform(room.receiveFromInstance(envelope, now())),
      loseInstance: (instance) => perform(room.loseInstance(instance, now())),
    };
  }

  async #answer(request: ClusterRequest, link: RedisLink | undefined): Promise<void> {
    const { room, perform, now } = this.#options;
    switch (request.type) {
      case 'claim': {
        const answer = await orUnavailable(link?.claim(request));
        return perform(room.claimed(request, answer, now()));
      }
      case 'burn': {
        const answer = await orUnavailable(link?.requests.burn(request));
        const state = answer === 'unavailable' ? ({ state: answer } as const) : answer;
        return perform(room.burnt(request, state, now()));
      }
      case 'post': {
        const answer = await orUnavailable(link?.requests.post(request));
        return perform(room.posted(request, answer, now()));
      }
      case 'wait': {
        const answer = await orUnavailable(link?.requests.wait(request));
        return perform(room.waited(request, answer, now()));
      }
      case 'rest':
        return void (await orUnavailable(link?.requests.rest(request)));
      case 'withdraw':
        return void (await orUnavailable(link?.requests.withdraw(request)));
      case 'leave':
        return void (await orUnavailable(link?.requests.leave(request)));
    }
  }

  async #deliver(instance: string, message: InstanceMessage, link: RedisLink | undefined): Promise<void> {
    const { room, perform, now } = this.#options;
    const { type, session } = message;
    const isReceived = await link?.tell(instance, message).catch(() => false);
    // If the link itself is lost, the room knows that already.
    if (isReceived !== false || !NEEDS_RECEIVER.has(type) || link?.isOver === true) return;
    perform(room.receiveFromInstance({ from: instance, message: { type: 'gone', session } }, now()));
  }
}

/** The answer of Redis, or `unavailable` if there is no link, or it has failed. */
async function orUnavailable<T>(answer: Promise<T> | undefined): Promise<T | 'unavailable'> {
  if (answer === undefined) return 'unavailable';
  return answer.catch(() => 'unavailable' as const);
}
