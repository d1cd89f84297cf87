import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { asSentence } from '../../core/errors/define-codes';
import { within } from '../../core/within';
import { warnOnce } from '../../process/log';
import type { DocumentStore, PageChanges } from '../document-store';
import { STORAGE_CODES } from '../errors/codes';
import type { RedisClient } from './client';
import { RedisConnection } from './connection';
import { IoRedisError, toReason } from './load';
import { evictionProblemOf } from './problem';
import { askPolicy } from './remembers';
import type { RedisSource } from './source';

const TIMEOUT_MS = 2000;

/** How long an answer about the eviction policy is valid. */
const KEEPS_MS = 10_000;

/** A connection that only listens does not notice when its peer disappears silently. */
const PING_EVERY_MS = 10_000;

/** A large document gets more time: it takes longer to transfer. */
const BYTES_A_MS = 10_000;

/** The replies of a Redis that is a replica, or not ready. Redis 6 writes them after the name of the script. */
const UNFIT = /(?:^|-)(?:READONLY|MASTERDOWN|LOADING) /;

/** How old a connection must be before it is replaced because of such a reply: reads may still work, and would fail with it. */
const REPLACED_AFTER_MS = 2000;

/** The most pages in one reply: with more, other requests would wait until all are read from the connection. */
const PAGES_AT_ONCE = 4;

/** The field of the document. Each page has a field under its own name, which is longer. */
const DOCUMENT = 'document';

// A key of another type is not a document. It reads as empty, so that a swap can replace it.
const READ = `local length = redis.pcall('HSTRLEN', KEYS[1], ARGV[1])
if type(length) == 'table' then
  if string.find(length.err, 'WRONGTYPE', 1, true) then return '' end
  return length
end
if length > tonumber(ARGV[2]) then return length end
return redis.call('HGET', KEYS[1], ARGV[1])`;

// A value that is too large for a page counts as missing, and is not sent.
const READ_PAGES = `local pages = {}
for i = 2, #ARGV do
  local length = redis.pcall('HSTRLEN', KEYS[1], ARGV[i])
  pages[i - 1] = type(length) == 'number' and length <= tonumber(ARGV[1]) and redis.call('HGET', KEYS[1], ARGV[i])
end
return pages`;

// ARGV: the field, whether there was a document, the old and the new document, the number of pages to write, their names
// and bytes, and the names of the pages to remove.
const SWAP = `local now = redis.pcall('HGET', KEYS[1], ARGV[1])
local isOther = type(now) == 'table'
if isOther then
  if not string.find(now.err, 'WRONGTYPE', 1, true) then return now end
  now = ''
end
if ARGV[2] == 'none' then
  if now then return 0 end
elseif now ~= ARGV[3] then
  return 0
end
if isOther then redis.call('DEL', KEYS[1]) end
local last = 5 + 2 * ARGV[5]
for i = 6, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('PUBLISH', KEYS[1], 'changed')
return 1`;

const DISCARD = `if redis.call('HSTRLEN', KEYS[1], ARGV[1]) > tonumber(ARGV[2]) then redis.call('DEL', KEYS[1]) end`;

// Uses the clock of Redis, since the clocks of instances may differ. A value that no instance has written is deleted.
const CONFIRM = `if redis.call('HLEN', KEYS[1]) > 10000 then redis.call('DEL', KEYS[1]) end
local now = redis.call('TIME')[1]
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. now)
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  local at = string.match(redis.call('HGET', KEYS[1], name), '^%d+ (%d+)$')
  if not at or math.abs(now - at) > 30 then redis.call('HDEL', KEYS[1], name) end
end
redis.call('EXPIRE', KEYS[1], 60)`;

const CONFIRMED = `if redis.call('HLEN', KEYS[1]) > 10000 then return redis.error_reply('ERR more than instances are') end
local now = redis.call('TIME')[1]
local revisions = {}
for _, text in ipairs(redis.call('HVALS', KEYS[1])) do
  local revision, at = string.match(text, '^(%d+) (%d+)$')
  if at and math.abs(now - at) <= 30 then revisions[#revisions + 1] = revision end
end
return revisions`;

/** Documents in Redis. A script compares and sets them in one step, and notifies all watchers. */
export class RedisDocumentStore implements DocumentStore {
  readonly #source: RedisSource;
  readonly #prefix: string;
  readonly #commands: RedisConnection;
  readonly #pingEveryMs: number;
  #subscriber: RedisConnection | undefined;
  #pinging: NodeJS.Timeout | undefined;
  /** Until when the answer counts that this Redis evicts no list, by `performance.now()`. */
  #keepsUntil = Number.NEGATIVE_INFINITY;
  /** When the connection was made, by `performance.now()`. */
  #connectedAt = Number.NEGATIVE_INFINITY;
  readonly #ready = new Set<() => void>();
  readonly #watched = new Map<string, (() => void)[]>();

  /**
   * @param prefix prepended to each key
   * @param pingEveryMs how often to check the connection that receives notifications
   */
  constructor(source: RedisSource, prefix: string, pingEveryMs = PING_EVERY_MS) {
    this.#source = source;
    this.#prefix = prefix;
    this.#pingEveryMs = pingEveryMs;
    this.#commands = new RedisConnection(source, { changed: () => this.#changed(), lost: () => {} });
  }

  /** @throws AmeshError `allow_list_unavailable` if Redis does not answer */
  async read(key: string, atMost = Number.MAX_SAFE_INTEGER): Promise<Uint8Array | null> {
    const found = await this.#run((client) =>
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
      const found = await this.#run(
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
    const isSentNow = this.#commands.isReady && performance.now() < this.#keepsUntil;
    const keep = isSentNow && !this.#commands.isCluster ? toView : toCopy;
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
      const swapped = await this.#run(
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
    await this.#run((client) => client.eval(DISCARD, 1, this.#prefix + key, DOCUMENT, String(moreThan)));
  }

  watch(key: string, changed: () => void): void {
    const channel = this.#prefix + key;
    this.#watched.set(channel, [...(this.#watched.get(channel) ?? []), changed]);
    this.#subscriber ??= this.#subscribe();
    this.#subscribeNow(this.#subscriber);
  }

  async confirm(key: string, instance: string, revision: number): Promise<void> {
    await this.#run((client) =>
      client.eval(CONFIRM, 1, `${this.#prefix}${key}:instances`, instance, String(revision)),
    );
  }

  async confirmed(key: string): Promise<number[]> {
    const all = await this.#run((client) => client.eval(CONFIRMED, 1, `${this.#prefix}${key}:instances`));
    return (all as string[]).map(Number);
  }

  /** Closes its connections. */
  close(): void {
    clearInterval(this.#pinging);
    this.#commands.close();
    this.#subscriber?.close();
  }

  #subscribe(): RedisConnection {
    const connection: RedisConnection = new RedisConnection(
      this.#source,
      {
        changed: () => this.#subscribeNow(connection),
        lost: () => {},
        message: (channel) => {
          for (const changed of this.#watched.get(channel) ?? []) changed();
        },
      },
      { autoResubscribe: false },
    );
    this.#pinging = setInterval(() => this.#ping(connection), this.#pingEveryMs).unref();
    return connection;
  }

  /** Any reply shows that the connection works. */
  #ping({ client, isReady, isCluster }: RedisConnection): void {
    if (client === null || !isReady || isCluster) return; // a cluster subscribes with another connection
    const silent = () => {
      client.disconnect(); // it reconnects itself
      return new Error('It does not respond.');
    };
    within(TIMEOUT_MS, () => client.ping(), silent).catch(() => {});
  }

  #subscribeNow(connection: RedisConnection): void {
    if (!connection.isReady || connection.client === null) return;
    connection.client.subscribe(...this.#watched.keys()).then(
      () => {
        connection.succeeded();
        // Something may have been published before this subscription.
        for (const changed of [...this.#watched.values()].flat()) changed();
      },
      () => {}, // the connection reconnects; until then, the store is polled
    );
  }

  /** Forgets what is known about Redis: the connection may now lead to another one. */
  #changed(): void {
    this.#keepsUntil = Number.NEGATIVE_INFINITY;
    this.#connectedAt = performance.now();
    this.#wake();
  }

  /** After a failover, the address may lead to the new master, while open connections still lead to the old one. */
  #replace(): void {
    const isNew = performance.now() - this.#connectedAt < REPLACED_AFTER_MS;
    if (isNew || this.#commands.isCluster) return; // a cluster names its masters itself
    for (const connection of [this.#commands, this.#subscriber]) connection?.client?.disconnect();
  }

  /** @throws AmeshError `allow_list_unavailable` if this Redis may evict the list, which would then be gone without a trace */
  async #assertKeeps(): Promise<void> {
    const askedAt = performance.now();
    if (askedAt < this.#keepsUntil) return;
    const policies = await Promise.all(this.#commands.masters().map(askPolicy));
    for (const policy of policies) {
      const problem = evictionProblemOf(policy, warnOnce);
      if (problem === null) continue;
      const detail = `The store of the allow list is not suitable. ${problem.why}`;
      throw new AmeshError(SERVER_CODES.allow_list_unavailable, detail, problem.advice);
    }
    this.#keepsUntil = askedAt + KEEPS_MS;
  }

  #wake(): void {
    for (const wake of this.#ready) wake();
    this.#ready.clear();
  }

  /** The deadline's timer keeps the process alive, since the connection does not. */
  async #run<T>(command: (client: RedisClient) => Promise<T>, timeoutMs = TIMEOUT_MS): Promise<T> {
    const connection = this.#commands;
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
      if (isAmeshError(error)) throw error;
      const isReplied = (error as Error).name === 'ReplyError';
      // If the connection was just lost, its own error says more than the error of the command.
      const { message } = toReason(isReplied ? (error as Error) : (connection.reason ?? (error as Error)));
      const cause = Object.assign(new Error(message), { isReply: isReplied });
      if (!cause.isReply)
        connection.client?.disconnect(); // silent or lost: a new connection may work
      else if (UNFIT.test(message)) this.#replace();
      throw new AmeshError(
        SERVER_CODES.allow_list_unavailable,
        `The store of the allow list failed: ${error instanceof IoRedisError ? error.why : asSentence(message)}`,
        {
          cause,
          ...(error instanceof IoRedisError ? error.advice : { fix: 'Check the Redis of AMESH_STORE_URL.' }),
        },
      );
    }
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
