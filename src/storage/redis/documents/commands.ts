import { AmeshError, isAmeshError } from '../../../core/errors/amesh-error';
import { SERVER_CODES } from '../../../core/errors/codes';
import { asSentence } from '../../../core/errors/define-codes';
import { within } from '../../../core/within';
import { warnOnce } from '../../../process/log';
import { askAddress } from '../address';
import type { RedisClient } from '../client';
import { RedisConnection } from '../connection';
import { IoRedisError, toReason } from '../load';
import { evictionProblemOf } from '../problem';
import { askPolicy, askRun } from '../remembers';
import type { RedisSource } from '../source';

/** How long a command may take. */
export const TIMEOUT_MS = 2000;

/** How long an answer about the eviction policy is valid. */
const KEEPS_MS = 10_000;

/** The replies of a Redis that is a replica, or not ready. Redis 6 writes them after the name of the script. */
const UNFIT = /(?:^|-)(?:READONLY|MASTERDOWN|LOADING) /;

/** The connection of a document store for its commands. */
export class RedisCommands {
  readonly #source: RedisSource;
  readonly #connection: RedisConnection;
  readonly #unfit: () => void;
  /** Until when the answer counts that this Redis evicts no list, by `performance.now()`. */
  #keepsUntil = Number.NEGATIVE_INFINITY;
  #connectedAt = Number.NEGATIVE_INFINITY;
  readonly #ready = new Set<() => void>();

  /** @param unfit called if this Redis is a replica, or not ready: another connection may lead to the master */
  constructor(source: RedisSource, unfit: () => void) {
    this.#source = source;
    this.#unfit = unfit;
    this.#connection = new RedisConnection(source, { changed: () => this.#changed(), lost: () => {} });
  }

  /** Whether a command that is run now is sent in this turn of the event loop, over a single connection. */
  get sendsAtOnce(): boolean {
    const { isReady, isCluster } = this.#connection;
    return isReady && !isCluster && performance.now() < this.#keepsUntil;
  }

  get isCluster(): boolean {
    return this.#connection.isCluster;
  }

  /** When the connection was made, by `performance.now()`. */
  get connectedAt(): number {
    return this.#connectedAt;
  }

  /**
   * Runs a command when there is a connection. The deadline's timer keeps the process alive, since the connection does not.
   *
   * @throws AmeshError `allow_list_unavailable` if that takes too long, Redis refuses it, or may evict the list
   */
  async run<T>(command: (client: RedisClient) => Promise<T>, timeoutMs = TIMEOUT_MS): Promise<T> {
    const connection = this.#connection;
    try {
      return await within(
        timeoutMs,
        async (waiting) => {
          while (!connection.isReady) {
            if (waiting.isOver) throw new Error('too late');
            await new Promise<void>((resolve) => {
              this.#ready.add(resolve);
              waiting.whenOver = () => {
                this.#ready.delete(resolve);
                resolve();
              };
            });
          }
          await this.#assertKeeps();
          if (waiting.isOver) throw new Error('too late');
          const answer = await command(connection.client as RedisClient);
          connection.succeeded();
          return answer;
        },
        () => connection.reason ?? new Error(`Redis did not respond within ${Math.round(timeoutMs)} ms`),
      );
    } catch (error) {
      throw isAmeshError(error) ? error : this.#failed(error as Error);
    }
  }

  /**
   * Whether the address leads to another Redis than the connection. An open connection does not move with it.
   *
   * @throws Error if one of them does not answer
   */
  async isElsewhere(): Promise<boolean> {
    const { client, isReady, isCluster } = this.#connection;
    if (client === null || !isReady || isCluster) return false; // a cluster names its masters itself
    const [there, here] = await Promise.all([
      askAddress(this.#source, client, TIMEOUT_MS),
      within(
        TIMEOUT_MS,
        () => askRun(client),
        () => new Error('It does not respond.'),
      ),
    ]);
    return there === null || runIdOf(there) !== runIdOf(here);
  }

  /** It then connects again, to what is behind the address now. */
  disconnect(): void {
    this.#connection.client?.disconnect();
  }

  close(): void {
    this.#connection.close();
  }

  /** Forgets what is known about Redis: the connection may now lead to another one. */
  #changed(): void {
    this.#keepsUntil = Number.NEGATIVE_INFINITY;
    this.#connectedAt = performance.now();
    for (const wake of this.#ready) wake();
    this.#ready.clear();
  }

  /** @throws AmeshError `allow_list_unavailable` if this Redis may evict the list, which would then be gone without a trace */
  async #assertKeeps(): Promise<void> {
    const askedAt = performance.now();
    if (askedAt < this.#keepsUntil) return;
    const policies = await Promise.all(this.#connection.masters().map(askPolicy));
    for (const policy of policies) {
      const problem = evictionProblemOf(policy, warnOnce);
      if (problem === null) continue;
      const detail = `The store of the allow list is not suitable. ${problem.why}`;
      throw new AmeshError(SERVER_CODES.allow_list_unavailable, detail, problem.advice);
    }
    this.#keepsUntil = askedAt + KEEPS_MS;
  }

  #failed(error: Error): AmeshError {
    const connection = this.#connection;
    const isReply = error.name === 'ReplyError';
    // If the connection was just lost, its own error says more than the error of the command.
    const { message } = toReason(isReply ? error : (connection.reason ?? error));
    if (!isReply)
      this.disconnect(); // silent or lost: a new connection may work
    else if (UNFIT.test(message)) this.#unfit();
    const why = error instanceof IoRedisError ? error.why : asSentence(message);
    return new AmeshError(SERVER_CODES.allow_list_unavailable, `The store of the allow list failed: ${why}`, {
      cause: Object.assign(new Error(message), { isReply }),
      ...(error instanceof IoRedisError ? error.advice : { fix: 'Check the Redis of AMESH_STORE_URL.' }),
    });
  }
}

/** The rest of a run changes while the same Redis runs on: with its role, and when it evicts a key. */
function runIdOf(run: string): string | undefined {
  return run.split('.')[0];
}
