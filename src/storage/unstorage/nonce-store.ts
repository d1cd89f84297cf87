import { NonceStoreUnavailableError } from '../../core/errors/amesh-error';
import type { NonceStore } from '../../core/nonces/nonce-store';
import { warnOnce } from '../../process/log';
import { ClockWatch } from '../clock-watch';
import { assertStorage, readRaw, type UnstorageLike } from './unstorage';

/** Drivers that know nothing of what the process before this one has claimed. */
const FORGETFUL = /^(?:memory|lru-cache|null)$/;

/**
 * A {@link NonceStore} over any storage of unstorage, for those who have nothing better: exact in one process, and it
 * outlives it. It is not exact for several, since no driver can claim a key that is free in one step; it says so once.
 * Nonces that are over are removed by the process that has claimed them, and by drivers that know a `ttl`.
 */
export class StorageNonceStore implements NonceStore {
  readonly #storage: UnstorageLike;
  /** Claims on their way, so that two of one nonce in this process take turns. */
  readonly #claiming = new Map<string, Promise<unknown>>();

  /**
   * What this process has claimed and until when, oldest first: a storage may show what was there before, or throw away
   * what it has no room for.
   */
  readonly #claimed = new Map<string, number>();
  readonly #clock = new ClockWatch();

  /** Unix seconds: what was created earlier may have been claimed by a process before. Undefined where that would show. */
  readonly startedAt: number | undefined;

  /** @throws TypeError for a storage that is none */
  constructor(storage: UnstorageLike) {
    assertStorage(storage);
    this.#storage = storage;
    const name = storage.getMount?.('amesh:nonce:').driver.name ?? '';
    this.startedAt = FORGETFUL.test(name) ? Math.floor(Date.now() / 1000) : undefined;
    warnOnce(
      'StorageNonceStore detects replays within one process only. A request can be replayed to another process at the same moment: use RedisNonceStore.',
    );
  }

  /** @throws NonceStoreUnavailableError where the storage fails, or after the clock was set back */
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
    this.#clock.note(Date.now(), keepUntilMs);
    if ((this.#claimed.get(key) ?? 0) > Date.now()) return false;
    try {
      const found = await readRaw(this.#storage, key);
      const text = new TextDecoder().decode(found ?? new Uint8Array());
      // What is no time was put there by somebody else, or not to its end, and is no permission.
      if (found !== null && !(/^\d+$/.test(text) && Number(text) <= Date.now())) return false;
      await this.#storage.setItemRaw(key, new TextEncoder().encode(String(Math.ceil(keepUntilMs))), {
        ttl: Math.max(60, Math.ceil((keepUntilMs - Date.now()) / 1000)), // Cloudflare KV takes no less
      });
    } catch (error) {
      throw new NonceStoreUnavailableError('The storage of the nonces failed.', error);
    }
    this.#claimed.delete(key); // or it would stay where it was in the order
    this.#claimed.set(key, keepUntilMs);
    await this.#removeOld().catch(() => {}); // what stays is over
    return true;
  }

  /** Two at a time, so that it gets ahead of what is claimed and no claim waits for long. */
  async #removeOld(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      const [key, untilMs = 0] = this.#claimed.entries().next().value ?? [];
      if (key === undefined || untilMs > Date.now()) return;
      this.#claimed.delete(key);
      await this.#storage.removeItem?.(key);
    }
  }
}

function toHex(text: string): string {
  return Buffer.from(text).toString('hex');
}
