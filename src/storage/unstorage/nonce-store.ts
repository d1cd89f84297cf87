import { NonceStoreUnavailableError } from '../../core/errors/amesh-error';
import { areDelegates, MAX_DELEGATE_NONCES, type NonceStore } from '../../core/nonces/nonce-store';
import { warnOnce } from '../../process/log';
import { ClockWatch } from '../clock-watch';
import { tooManyNonces } from '../too-many-nonces';
import { assertStorage, driversOf, readRaw, type UnstorageDriver, type UnstorageLike } from './unstorage';

interface Claimed {
  /** The device, or its delegates. */
  readonly name: string;
  readonly untilMs: number;
}

/** What this process knows of the nonces in a storage. */
interface Memory {
  /** Pending claims, so that two claims of one nonce in this process take turns. */
  readonly claiming: Map<string, Promise<unknown>>;
  /** The claims of this process and their ends, the oldest first: a storage may return old data, or evict data when it is full. */
  readonly claimed: Map<string, Claimed>;
  /** How many of them are nonces of the delegates of each device. */
  readonly delegates: Map<string, number>;
  readonly clock: ClockWatch;
}

/** One memory for all stores over a storage, since an app may make a store for each route. */
const memories = new WeakMap<UnstorageLike, Memory>();

/** Drivers that forget the claims of the previous process. */
const FORGETFUL = /^(?:memory|lru-cache|null)$/;

/**
 * A {@link NonceStore} on any storage of unstorage, for apps without a better store. It detects replays within one process, even
 * after a restart. It does not detect them across processes, since no driver can claim a free key atomically; it logs that once.
 * The process that claimed a nonce removes it when it has expired; so do drivers that support `ttl`.
 */
export class StorageNonceStore implements NonceStore {
  readonly #storage: UnstorageLike;
  readonly #memory: Memory;

  /** Unix seconds: requests created earlier may have been claimed by a previous process. Undefined if the storage persists. */
  readonly startedAt: number | undefined;

  /** @throws TypeError if it is not a storage of unstorage */
  constructor(storage: UnstorageLike) {
    assertStorage(storage);
    this.#storage = storage;
    this.#memory = memoryOf(storage);
    const isForgetful = driversOf(storage, 'amesh:nonce:').some(forgets);
    this.startedAt = isForgetful ? Math.floor(Date.now() / 1000) : undefined;
    warnOnce(
      'StorageNonceStore detects replays within one process only. A request can be replayed to another process at the same moment: use RedisNonceStore.',
    );
  }

  /** @throws NonceStoreUnavailableError if the storage fails, or after the clock was set back */
  async claim(deviceId: string, nonce: string, keepUntilMs: number): Promise<boolean> {
    if (nonce.length !== 22) throw new TypeError('A nonce must have 22 base64url characters.');
    // Hexadecimal, since some file systems ignore the case of names.
    const key = `amesh:nonce:${toHex(deviceId)}:${toHex(nonce)}`;
    const before = this.#memory.claiming.get(key) ?? Promise.resolve();
    const claiming = before.then(() => this.#claim(deviceId, key, keepUntilMs));
    const settled = claiming.catch(() => {});
    this.#memory.claiming.set(key, settled);
    try {
      return await claiming;
    } finally {
      if (this.#memory.claiming.get(key) === settled) this.#memory.claiming.delete(key);
    }
  }

  async #claim(name: string, key: string, keepUntilMs: number): Promise<boolean> {
    this.#memory.clock.note(Date.now(), keepUntilMs);
    if ((this.#memory.claimed.get(key)?.untilMs ?? 0) > Date.now()) return false;
    if ((this.#memory.delegates.get(name) ?? 0) >= MAX_DELEGATE_NONCES)
      throw tooManyNonces(MAX_DELEGATE_NONCES);
    try {
      const found = await readRaw(this.#storage, key);
      const text = new TextDecoder().decode(found ?? new Uint8Array());
      // Only a time in the past is a permission: somebody else has written any other value, or it is incomplete.
      if (found !== null && !(/^\d+$/.test(text) && Number(text) <= Date.now())) return false;
      await this.#storage.setItemRaw(key, new TextEncoder().encode(String(Math.ceil(keepUntilMs))), {
        ttl: Math.max(60, Math.ceil((keepUntilMs - Date.now()) / 1000)), // the minimum of Cloudflare KV
      });
    } catch (error) {
      throw new NonceStoreUnavailableError('The storage of the nonces failed.', error);
    }
    this.#forget(key); // so that it moves to the end
    this.#memory.claimed.set(key, { name, untilMs: keepUntilMs });
    if (areDelegates(name)) this.#memory.delegates.set(name, (this.#memory.delegates.get(name) ?? 0) + 1);
    await this.#removeOld().catch(() => {}); // if this fails, only expired claims stay
    return true;
  }

  /** Removes two at a time: faster than claims are added, without delaying a claim for long. */
  async #removeOld(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      const [key, claimed] = this.#memory.claimed.entries().next().value ?? [];
      if (key === undefined || (claimed?.untilMs ?? 0) > Date.now()) return;
      this.#forget(key);
      await this.#storage.removeItem?.(key);
    }
  }

  #forget(key: string): void {
    const { name = '' } = this.#memory.claimed.get(key) ?? {};
    this.#memory.claimed.delete(key);
    const count = this.#memory.delegates.get(name);
    if (count === 1) this.#memory.delegates.delete(name);
    else if (count !== undefined) this.#memory.delegates.set(name, count - 1);
  }
}

function memoryOf(storage: UnstorageLike): Memory {
  const known = memories.get(storage);
  if (known !== undefined) return known;
  const made = { claiming: new Map(), claimed: new Map(), delegates: new Map(), clock: new ClockWatch() };
  memories.set(storage, made);
  return made;
}

function forgets({ name = '' }: UnstorageDriver): boolean {
  return FORGETFUL.test(name);
}

function toHex(text: string): string {
  return Buffer.from(text).toString('hex');
}
