import { InMemoryNonceStore, type NonceStore } from '../core/nonce-memory';
import { INSTALL_IOREDIS, loadIoRedis } from './redis/client';
import { readRedisUrl } from './redis/source';

/** The store for those who only set REDIS_URL: Redis, or memory where ioredis is not installed. */
export class RedisUrlNonceStore implements NonceStore {
  #store: NonceStore | null = null;
  readonly #opening: Promise<NonceStore>;

  /**
   * @param say prints a line
   * @throws TypeError for a URL that is none of a Redis
   */
  constructor(url: string, say: (line: string) => void) {
    this.#opening = open(readRedisUrl(url, 'REDIS_URL'), say).then((store) => {
      this.#store = store;
      return store;
    });
    this.#opening.catch(() => {}); // each claim says so
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
  if ((await loadIoRedis()) === null) {
    say(
      `REDIS_URL is set, but ioredis is not installed. Run: ${INSTALL_IOREDIS}. Until then nonces are remembered in this process alone: with several behind one address a request can be replayed to another.`,
    );
    return new InMemoryNonceStore();
  }
  const { RedisNonceStore } = await import('./redis/nonce-store');
  say('Nonces are remembered in the Redis of REDIS_URL.');
  return new RedisNonceStore(url);
}
