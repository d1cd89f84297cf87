import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RedisNonceStore, type RedisNonceStoreOptions } from '@authmesh/sdk/redis';
import { Redis } from 'ioredis';
import { Redis as Redis6 } from 'ioredis6';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { floodOfDelegates } from '../support/delegate-flood';
import { opened, randomNonce } from '../support/nonce-store';
import { nonceStoreContract } from '../support/nonce-store-contract';
import { StolenTime } from '../support/pauses';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { useRedisNonceStores } from '../support/use-redis-nonce-stores';
import { SOON } from '../support/waiting';

const DEVICE = 'am_AAAAAAAAAAAAAAAA';
const claim = (store: RedisNonceStore, nonce = randomNonce()) =>
  store.claim(DEVICE, nonce, Date.now() + 60_000);

const open = useRedisNonceStores();

describe('new RedisNonceStore()', () => {
  it.each([undefined, ''])('names REDIS_URL where the URL is %j', (url) => {
    for (const from of [url, { url }]) {
      expect(() => new RedisNonceStore(from as string)).toThrow(
        expect.objectContaining({
          name: 'TypeError',
          message: 'No Redis address is set. Set REDIS_URL, such as redis://localhost:6379.',
        }),
      );
    }
  });

  it.each(['localhost:6379', 'http://localhost', 'redis://', 'redis://user:secret@[', '/run/redis.sock'])(
    'refuses the URL %j, and quotes none',
    (url) => {
      expect(() => new RedisNonceStore(url)).toThrow(
        expect.objectContaining({
          name: 'TypeError',
          message: 'REDIS_URL is not a Redis URL: it must begin with redis:// or rediss://.',
        }),
      );
    },
  );

  it.each([
    [{ uri: 'redis://x' }, 'new RedisNonceStore() has no option "uri".'],
    [{ url: 'redis://x', timeoutMs: 0 }, 'timeoutMs must be a number of milliseconds from 10 to 10000.'],
    [{ url: 'redis://x', strictRestart: 'yes' }, 'strictRestart must be true or false.'],
    [
      { url: 'redis://x', clockSkewSeconds: 0 },
      'clockSkewSeconds must be a number of seconds from 1 to 300.',
    ],
    [
      { url: 'redis://x', maxDelegateNonces: 0 },
      'maxDelegateNonces must be a whole number from 1 to 10,000,000.',
    ],
    [{ url: 'redis://x', cluster: ['redis://y'] }, 'Pass url or cluster, not both.'],
    [{ cluster: [] }, 'cluster must be a list of redis:// URLs or { host, port }.'],
    [{ client: {} }, 'client must be an ioredis client.'],
    [{ redis: 'x' }, 'redis must be an object of ioredis options.'],
    [{}, 'No Redis address is set. Set REDIS_URL'],
    [42, 'RedisNonceStore needs a URL, options, or an ioredis client.'],
    [null, 'RedisNonceStore needs a URL, options, or an ioredis client.'],
  ])('refuses %j', (options, message) => {
    expect(() => new RedisNonceStore(options as RedisNonceStoreOptions)).toThrow(TypeError);
    expect(() => new RedisNonceStore(options as RedisNonceStoreOptions)).toThrow(message);
  });
});

describeWithRedis('RedisNonceStore', () => {
  let redis: RedisServer;
  let admin: Redis;
  // On a busy machine an answer can take longer than a request waits for it.
  const timeoutMs = 10_000;
  const openPatiently = (url = redis.url) => open({ url, timeoutMs });
  beforeAll(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
    admin.on('error', () => {});
  });
  afterAll(async () => {
    admin?.disconnect();
    await redis?.stop();
  });

  nonceStoreContract('RedisNonceStore', async () => ({
    store: await opened(openPatiently()),
    reopen: () => openPatiently(),
  }));

  it.each([
    ['a URL', () => open(redis.url)],
    ['options', () => openPatiently()],
    ['options of ioredis', () => open({ redis: { host: '127.0.0.1', port: redis.port }, timeoutMs })],
    ['a client of ioredis 5', () => open(clientOf(Redis))],
    ['a client of ioredis 6', () => open(clientOf(Redis6))],
    ['a client among options', () => open({ client: clientOf(Redis), timeoutMs })],
  ])('works with %s', async (_, make) => {
    const store = await opened(make());
    const nonce = randomNonce();
    expect(await claim(store, nonce)).toBe(true);
    expect(await claim(store, nonce)).toBe(false);
    const ttl = await admin.pttl(`amesh:nonce:${DEVICE}:${nonce}`);
    expect(ttl).toBeGreaterThan(50_000);
    expect(ttl).toBeLessThanOrEqual(60_000);
    expect(await admin.get(`amesh:nonce:${DEVICE}:${nonce}`)).toBe('1');
  });

  const clients: Redis[] = [];
  function clientOf(Class: typeof Redis | typeof Redis6): Redis {
    const client = new (Class as typeof Redis)(redis.url);
    clients.push(client);
    return client;
  }
  afterAll(() => {
    for (const client of clients) client.disconnect();
  });

  it('refuses a flood of delegates, and still serves their device and the delegates of others', async () => {
    const options = { url: redis.url, timeoutMs: 10_000, maxDelegateNonces: 50 };
    await floodOfDelegates([await opened(open(options)), await opened(open(options))], 50);
  });

  it('has room again for delegates whose nonces have ended, and keeps none of them', async () => {
    const store = await opened(open({ url: redis.url, timeoutMs: 10_000, maxDelegateNonces: 5 }));
    const name = 'am_HHHHHHHHHHHHHHHH/delegates';
    for (let i = 0; i < 50; i++) {
      expect(await store.claim(name, randomNonce(), Date.now())).toBe(true);
      await sleep(2); // a claim lasts a millisecond at least
    }
    await store.claim(name, randomNonce(), Date.now() + 90_000);
    await store.claim(name, randomNonce(), Date.now() + 30_000); // which shortens nothing
    expect(await admin.zcard(`amesh:nonce:${name}`)).toBeLessThanOrEqual(5);
    expect(await admin.pttl(`amesh:nonce:${name}`)).toBeGreaterThan(60_000);
  });

  it('does not change the client that it was given, and does not close it', async () => {
    const client = clientOf(Redis);
    const store = await opened(open({ client, timeoutMs }));
    await client.quit();
    expect(await claim(store)).toBe(true);
    const second = clientOf(Redis);
    const other = await opened(open({ client: second, timeoutMs }));
    await other.close();
    expect(await second.ping()).toBe('PONG');
  });

  it('sends one command for each request, and many in one packet', async () => {
    const store = await opened(openPatiently());
    const before = await counters();
    const waiting = Array.from({ length: 1000 }, () => claim(store));
    expect((await Promise.all(waiting)).every(Boolean)).toBe(true);
    const after = await counters();
    expect(after.set - before.set).toBe(1000);
    expect(after.reads - before.reads).toBeLessThan(200);
  });

  async function counters() {
    const info = await admin.info('all');
    const number = (pattern: RegExp) => Number(pattern.exec(info)?.[1] ?? 0);
    return {
      set: number(/^cmdstat_set:calls=(\d+)/m),
      reads: number(/^total_reads_processed:(\d+)/m),
    };
  }

  it('after close() refuses immediately, and holds no connection', async () => {
    const store = await opened(openPatiently());
    await store.close();
    await store.close();
    await expect(claim(store)).rejects.toMatchObject({
      code: 'nonce_store_unavailable',
      message: expect.stringContaining('The nonce store was closed.'),
    });
  });

  // Each of the following waits for a Redis of its own.
  describe.concurrent('a Redis that may forget', () => {
    // What all of them say: each looks for its own words.
    const warned = vi.spyOn(console, 'warn');
    beforeAll(() => void warned.mockImplementation(() => {}));
    afterAll(() => warned.mockRestore());
    it.each(['allkeys-lru', 'volatile-ttl'])(
      'because of its maxmemory-policy %s is refused',
      async (policy) => {
        const own = await startRedis({ args: ['--maxmemory-policy', policy] });
        const store = open(own.url);
        const problem = `This Redis has the maxmemory-policy ${policy}, and may evict nonces that could still be replayed.`;
        const codes = new Set<unknown>();
        const refusal = async () => {
          const error = await claim(store).catch((error) => error);
          codes.add(error.code); // undefined if it was accepted
          return String(error.message);
        };
        await expect.poll(refusal).toContain(problem); // known when Redis has answered
        expect(await refusal()).toContain(problem);
        expect([...codes]).toEqual(['nonce_store_unavailable']);
        expect(warned.mock.calls.flat().join('\n')).toContain(
          `amesh: Every signed request is refused. ${problem}`,
        );
        const mender = new Redis(own.url);
        await mender.config('SET', 'maxmemory-policy', 'noeviction');
        mender.disconnect();
        await opened(store);
        await own.stop();
      },
    );

    it('gets a warning if it does not tell its policy', async () => {
      const own = await startRedis();
      const chief = new Redis(own.url);
      await chief.call('ACL', 'SETUSER', 'limited', 'on', '>pw', '~amesh:nonce:*', '+set', '+getrange');
      chief.disconnect();
      const store = await opened(openPatiently(`redis://limited:pw@127.0.0.1:${own.port}`));
      expect(warned.mock.calls.flat().join('\n')).toContain(
        'This Redis does not reveal its maxmemory-policy.',
      );
      // It does not say who it is either, so each new connection counts as another Redis.
      const { startedAt } = store;
      await sleep(1100);
      const admin = new Redis(own.url);
      await admin.client('KILL', 'TYPE', 'normal');
      admin.disconnect();
      await sleep(50);
      await opened(store);
      expect(store.startedAt).toBeGreaterThan(startedAt as number);
      await own.stop();
    });

    it('refuses when it is full, and forgets nobody', async () => {
      const own = await startRedis({ args: ['--maxmemory', '3mb'] });
      const store = await opened(openPatiently(own.url));
      const claimed: string[] = [];
      let failure: unknown;
      while (failure === undefined) {
        const nonces = Array.from({ length: 500 }, randomNonce);
        const answers = await Promise.allSettled(nonces.map((nonce) => claim(store, nonce)));
        for (const [i, answer] of answers.entries()) {
          if (answer.status === 'fulfilled') claimed.push(nonces[i] as string);
          // A busy machine may also be too slow for some.
          else if (String(answer.reason.cause?.message).includes('OOM')) failure = answer.reason;
        }
      }
      expect(failure).toMatchObject({ code: 'nonce_store_unavailable' });
      for (const nonce of claimed.slice(0, 200)) {
        expect(await claim(store, nonce).catch((error) => error.code)).not.toBe(true);
      }
      await own.stop();
    });
  });

  it.concurrent('refuses within its time if there is no Redis, and accepts when there is one', async () => {
    const own = await startRedis();
    await own.stop();
    const store = open(own.url);
    // Again where a busy machine is late: a store that waits too long does it each time.
    await vi.waitFor(async () => {
      const [stolen, startedAt] = [new StolenTime(), performance.now()];
      await expect(claim(store)).rejects.toMatchObject({
        code: 'nonce_store_unavailable',
        message: expect.stringContaining(`ECONNREFUSED 127.0.0.1:${own.port}`),
      });
      stolen.stop();
      expect(performance.now() - startedAt - stolen.ms).toBeLessThan(350);
    }, SOON);
    await own.restart();
    await opened(store);
    await own.stop();
  });

  describe.concurrent('a Redis that was', () => {
    it.each([
      ['restarted empty', async (own: RedisServer) => own.restart()],
      ['emptied by FLUSHALL while connected', flush],
    ])('%s: says from when on it remembers, later than everything before', async (_, lose) => {
      const own = await startRedis();
      const store = await opened(openPatiently(own.url));
      const claimedAt = Math.floor(Date.now() / 1000);
      await claim(store);
      await lose(own);
      for (const endsAt = Date.now() + 5000; (store.startedAt ?? 0) <= claimedAt && Date.now() < endsAt; )
        await sleep(10);
      await opened(store);
      expect(store.startedAt).toBeGreaterThan(claimedAt);
      expect(store.startedAt).toBeLessThanOrEqual(Date.now() / 1000);
      await own.stop();
    });

    async function flush(own: RedisServer): Promise<void> {
      const chief = new Redis(own.url);
      await chief.flushall();
      chief.disconnect();
    }

    it('restarted from an old copy, with an old marker in it: does not pass for the one before', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'amesh-redis-'));
      const own = await startRedis({ args: ['--dir', folder] });
      const store = await opened(openPatiently(own.url));
      const chief = new Redis(own.url);
      await chief.save();
      chief.disconnect();
      const forgotten = randomNonce();
      expect(await claim(store, forgotten)).toBe(true);
      const claimedAt = Math.floor(Date.now() / 1000);
      await own.restart();
      const later = await opened(openPatiently(own.url)); // has seen nothing of what was before
      expect(await claim(later, forgotten)).toBe(true);
      expect(later.startedAt).toBeGreaterThan(claimedAt);
      await opened(store);
      expect(store.startedAt).toBeGreaterThan(claimedAt);
      await own.stop();
      await rm(folder, { recursive: true, maxRetries: 20 });
    });

    it('there all the time is known to later processes, without a wait', async () => {
      const first = await opened(openPatiently());
      const { startedAt } = first;
      await sleep(1100);
      const later = openPatiently();
      expect(await claim(later)).toBe(true);
      expect(later.startedAt).toBe(startedAt);
    });
  });
});
