import type { NonceStore } from '../../core/nonces/nonce-store';

/** A namespace of Durable Objects, with the methods used here. */
export interface DurableObjectNamespace {
  /** The ID of the object with this name; the same name always gives the same ID. */
  idFromName(name: string): unknown;
  /** The object with an ID, which is created if needed. */
  get(id: unknown): {
    /** Sends a request to the object. */
    fetch(input: string, init?: RequestInit): Promise<Response>;
  };
}

/** The state of a Durable Object, with the properties used here. */
export interface DurableObjectState {
  /** The object's storage. */
  readonly storage: {
    /** The value of a key; undefined if there is none. */
    get(key: string): Promise<unknown>;
    /** Writes a value. */
    put(key: string, value: number): Promise<void>;
    /** Removes keys, at most 128 at once. Returns how many existed. */
    delete(keys: string[]): Promise<number>;
    /** Some keys with their values, in byte order, after `startAfter`. */
    list(options: { limit: number; startAfter?: string }): Promise<Map<string, unknown>>;
    /** The time of the object's alarm, Unix milliseconds; null if none is set. */
    getAlarm(): Promise<number | null>;
    /** Sets the time of the alarm. */
    setAlarm(atMs: number): Promise<void>;
  };
}

/** Whether a value is a namespace of Durable Objects. */
export function isDurableObjectNamespace(value: unknown): value is DurableObjectNamespace {
  return typeof (value as Partial<DurableObjectNamespace> | null)?.idFromName === 'function';
}

/** A {@link NonceStore} that detects replays across all Workers that share it: one {@link AmeshNonces} object per device. */
export class DurableNonceStore implements NonceStore {
  readonly #namespace: DurableObjectNamespace;

  /**
   * @param namespace the binding of the class {@link AmeshNonces}
   * @throws TypeError for another value
   */
  constructor(namespace: DurableObjectNamespace) {
    if (!isDurableObjectNamespace(namespace))
      throw new TypeError('namespace must be a namespace of Durable Objects: the binding of AmeshNonces.');
    this.#namespace = namespace;
  }

  async claim(deviceId: string, nonce: string, keepUntilMs: number): Promise<boolean> {
    const object = this.#namespace.get(this.#namespace.idFromName(deviceId));
    const query = new URLSearchParams({ nonce, keepUntilMs: String(keepUntilMs) });
    const response = await object.fetch(`https://nonces.invalid/?${query}`, { method: 'POST' });
    const text = await response.text();
    if (text !== 'new' && text !== 'known') throw new Error('The Durable Object sent an invalid response.');
    return text === 'new';
  }
}

/** How many keys one call of `delete` accepts. */
const MAX_DELETE = 128;
const PAGE = 1000;
/** The least time between alarms: an alarm per nonce would cost as much as the nonces. */
const MIN_PAUSE_MS = 10_000;

/**
 * The Durable Object that remembers the nonces of one device. Export it from the Worker, and bind its namespace as
 * `AMESH_NONCES`. An alarm removes expired nonces.
 *
 * @see docs/workers.md
 */
export class AmeshNonces {
  readonly #storage: DurableObjectState['storage'];

  /**
   * Called by the runtime.
   *
   * @param state the object's state
   */
  constructor(state: DurableObjectState) {
    this.#storage = state.storage;
  }

  /** Claims a nonce: responds `new` or `known`. */
  async fetch(request: Request): Promise<Response> {
    const query = new URL(request.url).searchParams;
    const nonce = query.get('nonce') ?? '';
    const keepUntilMs = Number(query.get('keepUntilMs'));
    if (nonce.length !== 22 || !(keepUntilMs > 0)) return new Response('malformed', { status: 400 });
    // No other call of this object runs in between: events wait during storage operations. And no response leaves before the write
    // is durable.
    if ((await this.#storage.get(nonce)) !== undefined) return new Response('known');
    await this.#storage.put(nonce, keepUntilMs);
    if ((await this.#storage.getAlarm()) === null) await this.#setAlarm(keepUntilMs);
    return new Response('new');
  }

  /** Called by the runtime when the first nonce may have expired. */
  async alarm(): Promise<void> {
    const nowMs = Date.now();
    let nextMs = Number.POSITIVE_INFINITY;
    let page: Map<string, unknown>;
    let startAfter: string | undefined;
    do {
      page = await this.#storage.list({ limit: PAGE, ...(startAfter === undefined ? {} : { startAfter }) });
      const over: string[] = [];
      for (const [nonce, keepUntilMs] of page) {
        if ((keepUntilMs as number) < nowMs) over.push(nonce);
        else nextMs = Math.min(nextMs, keepUntilMs as number);
        startAfter = nonce;
      }
      for (let i = 0; i < over.length; i += MAX_DELETE)
        await this.#storage.delete(over.slice(i, i + MAX_DELETE));
    } while (page.size === PAGE);
    if (nextMs !== Number.POSITIVE_INFINITY) await this.#setAlarm(nextMs);
  }

  #setAlarm(atMs: number): Promise<void> {
    return this.#storage.setAlarm(Math.max(atMs + 1, Date.now() + MIN_PAUSE_MS));
  }
}
