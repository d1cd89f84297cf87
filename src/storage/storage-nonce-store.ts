import { NonceStoreUnavailableError } from '../core/errors';
import type { NonceStore } from '../core/nonce-memory';
import { warnOnce } from '../log';
import { assertStorage, readRaw, type UnstorageLike } from './unstorage';

/**
 * A {@link NonceStore} over any storage of unstorage, for those who have nothing better: exact in one process, and it
 * outlives it. It is not exact for several, since no driver can claim a key that is free in one step; it says so once.
 * Nonces that are over are removed by the process that has claimed them, and by drivers that know a `ttl`.
 */
export class StorageNonceStore implements NonceStore {
  readonly #storage: UnstorageLike;
  /** Claims on their way, so that two of one nonce in this process take turns. */
  readonly #claiming = new Map<string, Promise<unknown>>();

  /** What this process has claimed, oldest first. */
  readonly #claimed: { readonly key: string; readonly untilMs: number }[] = [];

  /** @throws TypeError for a storage that is none */
  constructor(storage: UnstorageLike) {
    assertStorage(storage);
    this.#storage = storage;
    warnOnce(
      'StorageNonceStore is exact for one process. With several a request can be replayed to another at the same moment: use RedisNonceStore.',
    );
  }

  /** @throws NonceStoreUnavailableError where the storage fails */
  async claim(deviceId: string, nonce: string, keepUntilMs: number): Promise<boolean> {
    if (nonce.length !== 22) throw new TypeError('A nonce is of 22 base64url characters.');
    // Hexadecimal: some file systems take `a` and `A` for one name.
    const key = `amesh:nonce:${toHex(deviceId)}:${toHex(nonce)}`;
    const before = this.#claiming.get(key) ?? Promise.resolve();
    const claiming = before.then(() => this.#claim(key, keepUntilMs));
    const settled = claiming.catch(() => {});
    this.#claiming.set(key, settled);
    try {
      return await claiming;
    } finally {
      if (this.#claiming.get(key) === settled) this.#claiming.delete(key);
    }
  }

  async #claim(key: string, keepUntilMs: number): Promise<boolean> {
    try {
      const found = await readRaw(this.#storage, key);
      // What is no time was put there by somebody else, and is no permission.
      if (found !== null && !(Number(new TextDecoder().decode(found)) <= Date.now())) return false;
      await this.#storage.setItemRaw(key, new TextEncoder().encode(String(Math.ceil(keepUntilMs))), {
        ttl: Math.max(60, Math.ceil((keepUntilMs - Date.now()) / 1000)), // Cloudflare KV takes no less
      });
      this.#claimed.push({ key, untilMs: keepUntilMs });
      await this.#removeOld();
      return true;
    } catch (error) {
      throw new NonceStoreUnavailableError('The storage of the nonces failed.', error);
    }
  }

  /** Two at a time, so that it gets ahead of what is claimed and no claim waits for long. */
  async #removeOld(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      const [oldest] = this.#claimed;
      if (oldest === undefined || oldest.untilMs > Date.now()) return;
      this.#claimed.shift();
      await this.#storage.removeItem?.(oldest.key);
    }
  }
}

function toHex(text: string): string {
  return Buffer.from(text).toString('hex');
}
