import { AmeshError } from '../../../core/errors/amesh-error';
import type { DocumentStore, PageChanges } from '../../document-store';
import { STORAGE_CODES } from '../../errors/codes';
import type { RedisSource } from '../source';
import { RedisCommands, TIMEOUT_MS } from './commands';
import { RedisNotifications } from './notifications';
import { CONFIRM, CONFIRMED, DISCARD, DOCUMENT, READ, READ_PAGES, SWAP } from './scripts';

/** How often a store that somebody watches checks its connections, and where its address leads. */
const CHECK_EVERY_MS = 10_000;

/** A large document gets more time: it takes longer to transfer. */
const BYTES_A_MS = 10_000;

/** How old a connection must be before it is replaced because its Redis is unfit: reads may still work, and would fail with it. */
const REPLACED_AFTER_MS = 2000;

/** The most pages in one reply: with more, other requests would wait until all are read from the connection. */
const PAGES_AT_ONCE = 4;

/** Documents in Redis. A script compares and sets them in one step, and notifies all watchers. */
export class RedisDocumentStore implements DocumentStore {
  readonly #prefix: string;
  readonly #commands: RedisCommands;
  readonly #notifications: RedisNotifications;
  #isAsking = false;

  /**
   * @param prefix prepended to each key
   * @param checkEveryMs how often to check the connections while somebody watches
   */
  constructor(source: RedisSource, prefix: string, checkEveryMs = CHECK_EVERY_MS) {
    this.#prefix = prefix;
    this.#commands = new RedisCommands(source, () => this.#replaceUnfit());
    this.#notifications = new RedisNotifications(source, checkEveryMs, () => void this.#followAddress());
  }

  /** @throws AmeshError `allow_list_unavailable` if Redis does not answer */
  async read(key: string, atMost = Number.MAX_SAFE_INTEGER): Promise<Uint8Array | null> {
    const found = await this.#commands.run((client) =>
      client.evalBuffer(READ, 1, this.#prefix + key, DOCUMENT, String(atMost)),
    );
    // The document is longer than atMost, so it was not sent.
    if (typeof found === 'number') return new Uint8Array(atMost);
    return found === null ? null : new Uint8Array(found as Uint8Array);
  }

  /** @throws AmeshError `allow_list_unavailable` if Redis does not answer */
  async readPages(key: string, names: readonly string[], atMost: number): Promise<(Uint8Array | null)[]> {
    const pages: (Uint8Array | null)[] = [];
    for (let from = 0; from < names.length; from += PAGES_AT_ONCE) {
      const some = names.slice(from, from + PAGES_AT_ONCE);
      const found = await this.#commands.run(
        (client) => client.evalBuffer(READ_PAGES, 1, this.#prefix + key, String(atMost), ...some),
        TIMEOUT_MS + (some.length * atMost) / BYTES_A_MS,
      );
      for (const page of found as (Uint8Array | null)[]) pages.push(page && new Uint8Array(page));
    }
    return pages;
  }

  /** @throws AmeshError `allow_list_unavailable` if nothing has changed; `store_unsynced` if that is unknown */
  async swap(
    key: string,
    expected: Uint8Array | null,
    next: Uint8Array,
    { write, remove }: PageChanges = { write: new Map(), remove: [] },
  ): Promise<boolean> {
    // A single connection sends the bytes in this turn. If the command has to wait, it needs copies, which take time for megabytes.
    const keep = this.#commands.sendsAtOnce ? toView : toCopy;
    const [content, before] = [keep(next), keep(expected ?? new Uint8Array())];
    const pages = [...write].flatMap(([name, page]) => [name, keep(page)]);
    const args = [
      DOCUMENT,
      expected === null ? 'none' : 'some',
      before,
      content,
      write.size,
      ...pages,
      ...remove,
    ];
    const bytes = [before, content, ...write.values()].reduce((length, part) => length + part.length, 0);
    let wasSent = false;
    try {
      const swapped = await this.#commands.run(
        (client) => {
          wasSent = true;
          return client.eval(SWAP, 1, this.#prefix + key, ...args);
        },
        TIMEOUT_MS + bytes / BYTES_A_MS,
      );
      return swapped === 1;
    } catch (error) {
      // A script that Redis refuses changed nothing; a missing reply proves nothing.
      if (!wasSent || isReply((error as AmeshError).cause)) throw error;
      const now = await this.read(key).catch(() => null);
      if (now !== null && Buffer.compare(now, content) === 0) return true;
      throw new AmeshError(
        STORAGE_CODES.store_unsynced,
        'The change was sent, but Redis did not confirm it.',
        {
          fix: 'Check Redis. To see the current state',
          command: ['amesh', 'list'],
          cause: error,
        },
      );
    }
  }

  async discard(key: string, moreThan: number): Promise<void> {
    await this.#commands.run((client) =>
      client.eval(DISCARD, 1, this.#prefix + key, DOCUMENT, String(moreThan)),
    );
  }

  watch(key: string, changed: () => void): void {
    this.#notifications.watch(this.#prefix + key, changed);
  }

  async confirm(key: string, instance: string, revision: number): Promise<void> {
    await this.#commands.run((client) =>
      client.eval(CONFIRM, 1, `${this.#prefix}${key}:instances`, instance, String(revision)),
    );
  }

  async confirmed(key: string): Promise<number[]> {
    const all = await this.#commands.run((client) =>
      client.eval(CONFIRMED, 1, `${this.#prefix}${key}:instances`),
    );
    return (all as string[]).map(Number);
  }

  /** Closes its connections. */
  close(): void {
    this.#commands.close();
    this.#notifications.close();
  }

  /** After a failover, the address may lead to the new master, while open connections still lead to the old one. */
  #replaceUnfit(): void {
    const isNew = performance.now() - this.#commands.connectedAt < REPLACED_AFTER_MS;
    if (!isNew && !this.#commands.isCluster) this.#replace(); // a cluster names its masters itself
  }

  /** The old Redis may still run as a master, and would never hear of a revocation at the new one. */
  async #followAddress(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    if (await this.#commands.isElsewhere().catch(() => false)) this.#replace();
    this.#isAsking = false;
  }

  #replace(): void {
    this.#commands.disconnect();
    this.#notifications.disconnect();
  }
}

function toView({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function toCopy(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes);
}

function isReply(cause: unknown): boolean {
  return (cause as { isReply?: boolean } | undefined)?.isReply === true;
}
