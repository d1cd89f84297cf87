import { NonceStoreUnavailableError } from '../../core/errors/amesh-error';
import { asSentence, writeFix } from '../../core/errors/define-codes';
import type { NonceStore } from '../../core/nonces/nonce-store';
import { IoRedisError, ioRedisProblem, loadIoRedis } from './load';
import type { RedisProblem } from './problem';
import { readRedisUrl } from './source';

/** The store for users who only set REDIS_URL. They asked for Redis, so no weaker store replaces it. */
export class RedisUrlNonceStore implements NonceStore {
  #store: NonceStore | null = null;
  readonly #opening: Promise<NonceStore>;

  /**
   * @param say logs a line
   * @throws TypeError for a URL that is not a Redis URL; NonceStoreUnavailableError if ioredis is not installed
   */
  constructor(url: string, say: (line: string) => void) {
    const checked = readRedisUrl(url, 'REDIS_URL');
    const problem = ioRedisProblem();
    if (problem !== null) throw unavailable(problem);
    this.#opening = open(checked, say).then((store) => {
      this.#store = store;
      return store;
    });
    this.#opening.catch(() => {}); // each claim reports it
  }

  get startedAt(): number | undefined {
    return this.#store?.startedAt;
  }

  claim(deviceId: string, nonce: string, keepUntilMs: number): boolean | Promise<boolean> {
    if (this.#store !== null) return this.#store.claim(deviceId, nonce, keepUntilMs);
    return this.#opening.then((store) => store.claim(deviceId, nonce, keepUntilMs));
  }
}

async function open(url: string, say: (line: string) => void): Promise<NonceStore> {
  try {
    await loadIoRedis();
  } catch (error) {
    const problem =
      error instanceof IoRedisError
        ? error
        : { why: asSentence((error as Error).message), advice: { fix: 'Check ioredis' } };
    say(
      `REDIS_URL is set, but ${problem.why} ${writeFix(problem.advice)}. Until then every signed request gets 503.`,
    );
    throw unavailable(problem);
  }
  const { RedisNonceStore } = await import('./nonce-store');
  say('Nonces are remembered in the Redis of REDIS_URL.');
  return new RedisNonceStore(url);
}

function unavailable({ why, advice }: RedisProblem): NonceStoreUnavailableError {
  return new NonceStoreUnavailableError(`REDIS_URL is set, but ${why}`, undefined, advice);
}
