import type { NonceStore } from '../../core/nonces/nonce-store';

/** A namespace of Durable Objects as far as it is used here. */
export interface DurableObjectNamespace {
  /** The id of the object with this name; the same name has always the same. */
  idFromName(name: string): unknown;
  /** The object of an id, which is made where there is none. */
  get(id: unknown): {
    /** Sends a request to the object. */
    fetch(input: string, init?: RequestInit): Promise<Response>;
  };
}

/** The state of a Durable Object as far as it is used here. */
export interface DurableObjectState {
  /** What the object keeps. */
  readonly storage: {
    /** The value of a key; undefined where there is none. */
    get(key: string): Promise<unknown>;
    /** Writes a value. */
    put(key: string, value: number): Promise<void>;
    /** Removes keys, at most 128 at once. Returns how many there were. */
    delete(keys: string[]): Promise<number>;
    /** Some keys with their values, in the order of their bytes, from behind `startAfter`. */
    list(options: { limit: number; startAfter?: string }): Promise<Map<string, unknown>>;
    /** When the object wakes up by itself, Unix milliseconds; null where it does not. */
    getAlarm(): Promise<number | null>;
    /** Sets that time. */
    setAlarm(atMs: number): Promise<void>;
  };
}

/** Whether a value is a namespace of Durable Objects. */
export function isDurableObjectNamespace(value: unknown): value is DurableObjectNamespace {
  return typeof (value as Partial<DurableObjectNamespace> | null)?.idFromName === 'function';
}

/** A {@link NonceStore} that is exact for all Workers that share it: one {@link AmeshNonces} object for each device. */
export class DurableNonceStore implements NonceStore {
  readonly #namespace: DurableObjectNamespace;

  /**
   * @param namespace the binding to the class {@link AmeshNonces}
   * @throws TypeError for anything else
   */
  constructor(namespace: DurableObjectNamespace) {
    if (!isDurableObjectNamespace(namespace))
      throw new TypeError('A namespace of Durable Objects is expected: the binding to AmeshNonces.');
    this.#namespace = namespace;
  }

  async claim(deviceId: string, nonce: string, keepUntilMs: number): Promise<boolean> {
    const object = this.#namespace.get(this.#namespace.idFromName(deviceId));
    const query = new URLSearchParams({ nonce, keepUntilMs: String(keepUntilMs) });
    const response = await object.fetch(`https://nonces.invalid/?${query}`, { method: 'POST' });
    const text = await response.text();
    if (text !== 'new' && text !== 'known') throw new Error('The Durable Object gave no answer.');
    return text === 'new';
  }
}

/** As many keys as one call of `delete` takes. */
const MAX_DELETE = 128;
const PAGE = 1000;
/** An alarm for each nonce would be as dear as the nonces themselves. */
const MIN_PAUSE_MS = 10_000;

/**
 * The Durable Object that remembers the nonces of one device. Export it from the Worker, and bind its namespace as
 * `AMESH_NONCES`. An alarm takes out what is over.
 *
 * @see docs/workers.md
 */
export class AmeshNonces {
  readonly #storage: DurableObjectState['storage'];

  /**
   * The runtime calls it.
   *
   * @param state what the object keeps
   */
  constructor(state: DurableObjectState) {
    this.#storage = state.storage;
  }

  /** Claims a nonce: `new` or `known`. */
  async fetch(request: Request): Promise<Response> {
    const query = new URL(request.url).searchParams;
    const nonce = query.get('nonce') ?? '';
    const keepUntilMs = Number(query.get('keepUntilMs'));
    if (nonce.length !== 22 || !(keepUntilMs > 0)) return new Response('malformed', { status: 400 });
    // Nothing else of this object runs between the two: events wait while its storage is at work. And no answer leaves
    // before what was written is safe.
    if ((await this.#storage.get(nonce)) !== undefined) return new Response('known');
    await this.#storage.put(nonce, keepUntilMs);
    if ((await this.#storage.getAlarm()) === null) await this.#setAlarm(keepUntilMs);
    return new Response('new');
  }

  /** Called by the runtime when the first nonce may be over. */
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
