import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { RedisNonceStore, type RedisNonceStoreOptions } from '@authmesh/sdk/redis';
import { Redis } from 'ioredis';
import { describe, expect, it, type TestContext, vi } from 'vitest';
import { sharedStoreOf } from '../../src/trust/shared-store';
import { opened, randomNonce } from '../support/nonce-store';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { startSlowProxy } from '../support/slow-proxy';

const DEVICE = 'am_AAAAAAAAAAAAAAAA';
const MARKER = 'amesh:nonce:since:0';
const claim = (store: RedisNonceStore, nonce = randomNonce()) =>
  store.claim(DEVICE, nonce, Date.now() + 60_000);
const nowSeconds = () => Math.floor(Date.now() / 1000);

describe('an address with a mistake in it', () => {
  it.each([
    [
      'redis://localhost/cache',
      'has a database that is not a number, such as the 0 in redis://localhost:6379/0.',
    ],
    [
      'redis://localhost?db=cache',
      'has a database that is not a number, such as the 0 in redis://localhost:6379/0.',
    ],
    [
      'redis://localhost/0/1',
      'has a database that is not a number, such as the 0 in redis://localhost:6379/0.',
    ],
    ['redis://user:100%secret@localhost', 'contains a user or password with a bare %: write %25.'],
  ])('%s is a TypeError, and not a rejection that nobody can catch', (url, message) => {
    expect(() => new RedisNonceStore(url)).toThrow(
      expect.objectContaining({ name: 'TypeError', message: `REDIS_URL ${message}` }),
    );
  });
});

/** A Redis into which somebody else can write, and the stores that use it. */
class Shared {
  readonly #stores: RedisNonceStore[] = [];

  private constructor(
    readonly redis: RedisServer,
    readonly admin: Redis,
  ) {}

  static async start(later: TestContext['onTestFinished']): Promise<Shared> {
    const redis = await startRedis();
    const shared = new Shared(redis, new Redis(redis.url));
    shared.admin.on('error', () => {});
    later(async () => {
      await Promise.all(shared.#stores.map((store) => store.close()));
      shared.admin.disconnect();
      await redis.stop();
    });
    return shared;
  }

  /** With the patience of a busy machine. */
  open(from: RedisNonceStoreOptions = { url: this.redis.url, timeoutMs: 10_000 }): Promise<RedisNonceStore> {
    const store = new RedisNonceStore(from);
    this.#stores.push(store);
    return opened(store);
  }

  /** Until the stores have asked Redis who it is twice more: one question may be on its way. */
  async checked(rounds = 2): Promise<void> {
    const before = await this.#markerReads();
    for (const endsAt = Date.now() + 10_000; (await this.#markerReads()) < before + rounds; await sleep(20)) {
      if (Date.now() > endsAt) throw new Error('Nobody asks Redis who it is any more.');
    }
  }

  async #markerReads(): Promise<number> {
    return Number(/^cmdstat_getrange:calls=(\d+)/m.exec(await this.admin.info('commandstats'))?.[1] ?? 0);
  }

  async sentBytes(): Promise<number> {
    return Number(/^total_net_output_bytes:(\d+)/m.exec(await this.admin.info('stats'))?.[1]);
  }
}

// They mostly wait, each for a Redis of its own.
describeWithRedis.concurrent('somebody who can write to the Redis of the nonces', () => {
  it.for([
    ['beyond all dates', String(Number.MAX_SAFE_INTEGER)],
    ['an hour ahead', String(nowSeconds() + 3600)],
  ])(
    'a marker that names a time %s ends no process and locks nobody out',
    async ([, since], { onTestFinished }) => {
      const shared = await Shared.start(onTestFinished);
      const store = await shared.open();
      const run = (await shared.admin.get(MARKER))?.split(' ')[0] as string;
      await shared.admin.set(MARKER, `${run} ${since}`);
      await shared.checked();
      await opened(store);
      expect(store.startedAt).toBeLessThanOrEqual(nowSeconds());
      const later = await shared.open();
      expect(later.startedAt).toBeLessThanOrEqual(nowSeconds());
      await shared.checked(1);
      expect(await claim(later)).toBe(true);
    },
  );

  it('a marker of many megabytes is not fetched', async ({ onTestFinished }) => {
    const shared = await Shared.start(onTestFinished);
    const store = await shared.open();
    await shared.admin.set(MARKER, Buffer.alloc(30_000_000, 'x'));
    const before = await shared.sentBytes();
    await shared.checked();
    expect((await shared.sentBytes()) - before).toBeLessThan(1_000_000);
    await opened(store);
  });

  it('a claim that is accepted while Redis turns out to have forgotten lets nobody in', async ({
    onTestFinished,
  }) => {
    const shared = await Shared.start(onTestFinished);
    const proxy = await startSlowProxy(shared.redis.port);
    onTestFinished(() => proxy.close());
    const store = await shared.open({ url: `redis://127.0.0.1:${proxy.port}`, timeoutMs: 10_000 });
    proxy.delayMs = 600;
    await shared.admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await shared.checked(1); // that is: it was asked, and its answer is on the way
    await expect(claim(store)).rejects.toMatchObject({ code: 'nonce_store_unavailable' });
  });

  it('a marker of another type is replaced', async ({ onTestFinished }) => {
    const shared = await Shared.start(onTestFinished);
    const store = await shared.open();
    await shared.admin.del(MARKER);
    await shared.admin.lpush(MARKER, 'a list');
    await shared.checked();
    await opened(store);
    expect(await shared.admin.type(MARKER)).toBe('string');
  });
});

describeWithRedis.concurrent('a database that cannot be selected', () => {
  it.each([
    ['because it does not exist', 'default', '999', 'ERR DB index is out of range'],
    ['because the user may not', 'limited', '1', 'NOPERM'],
  ])('%s: accepts nobody, and uses no other database', async (_, user, database, reason) => {
    const redis = await startRedis();
    const admin = new Redis(redis.url);
    await admin.call('ACL', 'SETUSER', 'default', '>pw', '+@all');
    await admin.call('ACL', 'SETUSER', 'limited', 'on', '>pw', '~*', '+set', '+getrange', '+info');
    const store = new RedisNonceStore(`redis://${user}:pw@127.0.0.1:${redis.port}/${database}`);
    for (let i = 0; i < 3; i++) {
      await expect(claim(store)).rejects.toMatchObject({
        code: 'nonce_store_unavailable',
        cause: { message: expect.stringContaining(reason) },
      });
    }
    expect(await admin.dbsize()).toBe(0);
    await store.close();
    admin.disconnect();
    await redis.stop();
  });
});

it.concurrent('a server that repeats the password in its refusal: no message, cause or log has it', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () =>
      socket.write("-ERR unknown command 'auth', with args beginning with: 's3cret' \r\n"),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `redis://:s3cret@127.0.0.1:${port}`;
  const store = new RedisNonceStore({ url, timeoutMs: 10_000 });
  const documents = sharedStoreOf({ AMESH_STORE_URL: url });
  const failures = [
    await claim(store).catch(inspectWithCause),
    await documents?.read('x').catch(inspectWithCause),
  ];
  for (const failure of failures) {
    expect(failure).toContain("ERR unknown command 'auth'");
    expect(failure).not.toContain('s3cret');
  }
  await store.close();
  server.close();
});

function inspectWithCause(error: Error): string {
  return inspect(error, { depth: 10, showHidden: true });
}

describeWithRedis.concurrent('a Redis that has forgotten, and says the same run id', () => {
  it('because an eviction policy was on for a moment: says since when it remembers', async () => {
    const redis = await startRedis({ args: ['--maxmemory', '3mb'] });
    const store = await opened(new RedisNonceStore({ url: redis.url, timeoutMs: 5000 }));
    const admin = new Redis(redis.url);
    const claimedAt = nowSeconds();
    expect(await claim(store)).toBe(true);
    const marker = (await admin.get(MARKER)) as string;
    // All in one packet, so that nobody asks for the policy in between.
    const fillers = Array.from({ length: 40 }, (_, i) => `filler${i}`);
    const evicting = admin.pipeline().config('SET', 'maxmemory-policy', 'allkeys-random');
    for (const key of fillers) evicting.set(key, 'x'.repeat(100_000), 'PX', 60_000);
    evicting.del(...fillers).set(MARKER, marker); // which may have stayed as well as gone
    evicting.config('SET', 'maxmemory-policy', 'noeviction');
    await evicting.exec();
    expect(Number(/^evicted_keys:(\d+)/m.exec(await admin.info('stats'))?.[1])).toBeGreaterThan(0);
    await expectLater(store, claimedAt);
    await store.close();
    admin.disconnect();
    await redis.stop();
  });

  it('because it was a replica of one that knew less, and became a master again: says since when it remembers', async () => {
    const [first, second] = await Promise.all([startRedis(), startRedis()]);
    const store = await opened(new RedisNonceStore({ url: first.url, timeoutMs: 5000 }));
    const [old, promoted] = [new Redis(first.url), new Redis(second.url)];
    await promoted.replicaof('127.0.0.1', first.port);
    await synced(promoted);
    await promoted.replicaof('NO', 'ONE');
    const nonce = randomNonce();
    await opened(store);
    const claimedAt = nowSeconds();
    expect(await claim(store, nonce)).toBe(true); // the other one never hears of it
    await old.replicaof('127.0.0.1', second.port);
    await synced(old);
    await old.replicaof('NO', 'ONE');
    await opened(store);
    // A claim during which the store finds out is refused, and says nothing about the nonce.
    if (await vi.waitFor(() => claim(store, nonce), 30_000)) await expectLater(store, claimedAt);
    await store.close();
    old.disconnect();
    promoted.disconnect();
    await Promise.all([first.stop(), second.stop()]);
  });

  async function synced(replica: Redis): Promise<void> {
    for (
      const endsAt = Date.now() + 20_000;
      !/^master_link_status:up/m.test(await replica.info('replication'));
    ) {
      if (Date.now() > endsAt) throw new Error('The replica is not in sync.');
      await sleep(20);
    }
  }

  async function expectLater(store: RedisNonceStore, than: number): Promise<void> {
    for (const endsAt = Date.now() + 30_000; (store.startedAt ?? 0) <= than && Date.now() < endsAt; )
      await sleep(10);
    await opened(store);
    expect(store.startedAt).toBeGreaterThan(than);
  }
});

// It has a clock of its own, so that nothing runs beside it.
describeWithRedis('a clock that is set back', () => {
  it('a replay after the clock of an instance was set back, when Redis has dropped its nonce', async ({
    onTestFinished,
  }) => {
    const shared = await Shared.start(onTestFinished);
    await shared.open(); // has marked since when this Redis remembers, by the right clock
    const realNow = Date.now;
    let aheadMs = 300_000;
    const now = vi.spyOn(Date, 'now').mockImplementation(() => realNow() + aheadMs);
    onTestFinished(() => now.mockRestore());
    const store = await shared.open();
    const nonce = randomNonce();
    expect(await store.claim(DEVICE, nonce, Date.now() + 200)).toBe(true);
    for (
      const endsAt = realNow() + 5000;
      realNow() < endsAt && (await shared.admin.keys(`*${nonce}`)).length > 0;
    )
      await sleep(20);
    aheadMs = 0;
    await expect(store.claim(DEVICE, nonce, Date.now() + 60_000)).rejects.toMatchObject({
      code: 'nonce_store_unavailable',
      message: expect.stringMatching(
        /^The clock was set back .* ends at \d{4}-[\dT:.-]+Z\. Wait until then, or restart/,
      ),
    });
    aheadMs = 400_000;
    expect(await claim(store)).toBe(true);
  });
});
