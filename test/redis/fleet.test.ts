import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, type TestContext, vi } from 'vitest';
import type { Child } from '../support/child';
import { type Captured, type Fleet, startFleet, until } from '../support/fleet';
import { times } from '../support/full';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { startRedisCluster, startRedisSentinel } from '../support/redis-cluster';
import { startSlowProxy } from '../support/slow-proxy';

const ROUNDS = times(10, 200, 1000);
/** Requests of before that are sent again all the time, until an instance lets in new ones. */
const MANY = times(10, 50, 100);
const PASSED = '200 passed';
const REPLAYED = '401 {"error":"unauthorized"}';
const TOO_OLD = '401 {"error":"timestamp_out_of_range"}';
const UNAVAILABLE = '503 {"error":"nonce_store_unavailable"}';

/** Ends what a test has begun, the last first. */
type Later = TestContext['onTestFinished'];

/**
 * Each captured request is sent to all instances at once. Where a busy machine holds Redis up beyond the deadline, some
 * of them refuse it unasked: no two have accepted it then, and the round is run again with another request.
 */
async function expectOneEach(fleet: Fleet): Promise<void> {
  let again = 0;
  for (let round = 0; round < ROUNDS; ) {
    const captured = await fleet.sign();
    const answers = await Promise.all(fleet.servers.map((server) => fleet.send(server, captured)));
    const told = answers.filter((answer) => answer !== UNAVAILABLE).sort();
    const accepted = told[0] === PASSED ? [PASSED] : [];
    const replayed = told.slice(accepted.length).map(() => REPLAYED);
    expect(told).toEqual([...accepted, ...replayed]);
    if (told.length === 4) {
      expect(accepted).toEqual([PASSED]);
      round++;
    } else if (++again > ROUNDS) throw new Error('Redis answers too late each second time.');
  }
  console.log(`${ROUNDS} rounds of exactly one, and ${again} that were run again`);
}

describeWithRedis.concurrent('four processes with one Redis', () => {
  let redis: RedisServer;
  let fleet: Fleet;
  beforeAll(async () => {
    redis = await startRedis();
    fleet = await startFleet(4, { REDIS_URL: redis.url });
    for (const server of fleet.servers) expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
  });
  afterAll(async () => {
    await fleet?.stop();
    await redis?.stop();
  });

  it('say once that they use it', () => {
    for (const { stderr } of fleet.servers) {
      expect(stderr().match(/amesh: Nonces are remembered in the Redis of REDIS_URL\./g)).toHaveLength(1);
    }
  });

  it(
    `one captured request sent to all at once, ${ROUNDS} times: exactly one accepts it`,
    () => expectOneEach(fleet),
    180_000,
  );
});

/** One instance, and requests that were recorded on their way to it. */
class Instance {
  readonly fleet: Fleet;
  server: Child;

  private constructor(fleet: Fleet) {
    this.fleet = fleet;
    this.server = fleet.servers[0] as Child;
  }

  static async start(later: Later, env: Record<string, string>): Promise<Instance> {
    const instance = new Instance(await startFleet(1, env));
    later(async () => {
      await instance.fleet.stop();
      expect(instance.server.stderr()).not.toContain('UNHANDLED');
    });
    const { fleet, server } = instance;
    expect(await until(PASSED, () => fleet.call(server), 60_000), server.stderr()).toBe(PASSED);
    return instance;
  }

  send(captured: readonly Captured[]): Promise<string[]> {
    return Promise.all(captured.map((each) => this.fleet.send(this.server, each)));
  }

  /** Requests that were accepted, in the form in which an attacker who recorded them sends them again. */
  async capture(count = times(10, 20)): Promise<Captured[]> {
    const captured: Captured[] = [];
    for (let tries = 0; captured.length < count && tries < 20; tries++) {
      // At once: on a busy machine the first one would be old before the last one is there.
      const some = await Promise.all(
        Array.from({ length: count - captured.length }, () => this.fleet.sign()),
      );
      for (const [index, answer] of (await this.send(some)).entries()) {
        if (answer === PASSED) captured.push(some[index] as Captured);
        else expect(answer).toBe(UNAVAILABLE); // of a Redis that a busy machine holds up
      }
    }
    expect(captured).toHaveLength(count);
    return captured;
  }

  /** Refuses new requests and old ones alike; deadline.test.ts says how soon. */
  async expectRefusals(captured: readonly Captured[]): Promise<void> {
    for (let round = 0; round < 5; round++) {
      const answers = await this.send([...captured.slice(0, 5), await this.fleet.sign()]);
      expect(new Set(answers)).toEqual(new Set([UNAVAILABLE]));
    }
  }

  /** @param waitMs at most; deadline.test.ts says how soon */
  async expectRecovery(captured: readonly Captured[], old: string[], waitMs = 60_000): Promise<void> {
    // As soon as anything passes again, and before: none of the old ones ever does.
    for (const endsAt = Date.now() + waitMs; ; ) {
      for (const answer of await this.send(captured)) expect([UNAVAILABLE, ...old]).toContain(answer);
      if ((await this.fleet.call(this.server)) === PASSED) break;
      expect(Date.now()).toBeLessThan(endsAt);
      await sleep(times(400, 40, 10)); // others want a core, too
    }
    for (const answer of await this.send(captured)) expect(old).toContain(answer);
  }
}

async function startBoth(later: Later): Promise<{ redis: RedisServer; instance: Instance }> {
  const redis = await startRedis();
  later(() => redis.stop());
  return { redis, instance: await Instance.start(later, { REDIS_URL: redis.url }) };
}

// They mostly wait, each for a Redis of its own.
describeWithRedis.concurrent('a Redis that fails', () => {
  it('stopped: refused, and recovered without a restart; replays from before are refused by their time', async ({
    onTestFinished,
  }) => {
    const { redis, instance } = await startBoth(onTestFinished);
    const captured = await instance.capture();
    await redis.stop();
    await instance.expectRefusals(captured);
    await redis.restart();
    await instance.expectRecovery(captured, [TOO_OLD]);
  });

  it('asleep (SIGSTOP) for longer than its mark lasts: refused, and nothing from before is accepted again', async ({
    onTestFinished,
  }) => {
    const { redis, instance } = await startBoth(onTestFinished);
    const captured = await instance.capture();
    redis.pause();
    await instance.expectRefusals(captured);
    await sleep(3500); // longer than a check waits
    await instance.expectRefusals(captured);
    redis.resume();
    await instance.expectRecovery(captured, [TOO_OLD, REPLAYED]);
  });

  it('slow, each reply takes 1 s: refused', async ({ onTestFinished }) => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const proxy = await startSlowProxy(redis.port);
    onTestFinished(() => proxy.close());
    const instance = await Instance.start(onTestFinished, { REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    const captured = await instance.capture();
    proxy.delayMs = 1000;
    await instance.expectRefusals(captured);
    proxy.delayMs = 0;
    await instance.expectRecovery(captured, [TOO_OLD, REPLAYED]);
  });

  it('full (maxmemory, noeviction): refused, and what it holds is not forgotten', async ({
    onTestFinished,
  }) => {
    const { redis, instance } = await startBoth(onTestFinished);
    const captured = await instance.capture();
    const admin = new Redis(redis.url);
    await admin.set('filler', 'x'.repeat(4_000_000));
    await admin.config('SET', 'maxmemory', '3mb');
    await expect(admin.set('more', 'x')).rejects.toThrow(/^OOM/);
    await instance.expectRefusals(captured);
    await admin.config('SET', 'maxmemory', '0');
    admin.disconnect();
    await instance.expectRecovery(captured, [REPLAYED]);
  });

  it('restarted empty, immediately: replays from before are refused by their time', async ({
    onTestFinished,
  }) => {
    const { redis, instance } = await startBoth(onTestFinished);
    const captured = await instance.capture(MANY);
    await redis.restart();
    await instance.expectRecovery(captured, [TOO_OLD]);
  });

  it('a master that fails over to its replica, by a sentinel: replays from before are refused by nonce or time', async ({
    onTestFinished,
  }) => {
    const { sentinelPort, name, master, stop } = await startRedisSentinel();
    onTestFinished(stop);
    const sentinels = [{ host: '127.0.0.1', port: sentinelPort }];
    const NONCES = JSON.stringify({ redis: { sentinels, name } });
    const instance = await Instance.start(onTestFinished, { NONCES });
    const captured = await instance.capture(MANY);
    await master.stop();
    await instance.expectRecovery(captured, [TOO_OLD, REPLAYED]);
  });

  it('restarted empty, with strictRestart: not even a request from a clock ahead passes twice', async ({
    onTestFinished,
  }) => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const clockSkewSeconds = 1; // with those 10 s by which instances may differ: 11 s
    const NONCES = JSON.stringify({ url: redis.url, strictRestart: true, clockSkewSeconds });
    const instance = await Instance.start(onTestFinished, { NONCES, SKEW: String(clockSkewSeconds) });
    const { fleet, server } = instance;
    const ahead = await fleet.sign(Math.floor(Date.now() / 1000) + 1);
    expect(await fleet.send(server, ahead)).toBe(PASSED);
    await redis.restart();
    const restartedAt = Date.now();
    await instance.expectRecovery([ahead], [TOO_OLD]);
    expect(Date.now() - restartedAt).toBeGreaterThan(10_000);
  });

  it('restarted empty together with the server', async ({ onTestFinished }) => {
    const { redis, instance } = await startBoth(onTestFinished);
    const captured = await instance.capture(MANY);
    instance.server.kill('SIGKILL');
    await Promise.all([instance.server.ended, redis.restart()]);
    instance.server = await instance.fleet.start();
    await instance.expectRecovery(captured, [TOO_OLD]);
  });
});

describeWithRedis.concurrent('four processes with a cluster of three', () => {
  it(`one captured request sent to all at once, ${ROUNDS} times: exactly one accepts it`, async ({
    onTestFinished,
  }) => {
    const cluster = await startRedisCluster();
    onTestFinished(() => cluster.stop());
    const fleet = await startFleet(4, { CLUSTER: cluster.masters.map(({ url }) => url).join(',') });
    onTestFinished(() => fleet.stop());
    for (const server of fleet.servers) expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
    await expectOneEach(fleet);
  }, 180_000);
});

describe('REDIS_URL', () => {
  it.concurrent('without ioredis, in a bundle: prints the line that installs it, once, and refuses everybody', async () => {
    const fleet = await startFleet(2, { REDIS_URL: 'redis://127.0.0.1:1', DEBUG: 'amesh' }, ['ioredis']);
    const captured = await fleet.sign();
    for (const server of fleet.servers) {
      expect(await fleet.send(server, captured)).toBe(UNAVAILABLE);
      const said = server.stderr();
      expect(
        said.match(/^amesh: REDIS_URL is set, but ioredis is not installed\. Run: npm install ioredis\. /gm),
      ).toHaveLength(1);
      expect(said).toContain(
        'refused 503 nonce_store_unavailable: REDIS_URL is set, but ioredis is not installed. Run: npm install ioredis [',
      );
    }
    await fleet.stop();
  });

  it.concurrent('without ioredis, in a bundle: new RedisNonceStore() says why it refuses', async () => {
    const NONCES = JSON.stringify({ url: 'redis://127.0.0.1:1' });
    const fleet = await startFleet(1, { NONCES, DEBUG: 'amesh' }, ['ioredis']);
    const [server] = fleet.servers as [Child];
    expect(await fleet.call(server)).toBe(UNAVAILABLE);
    expect(server.stderr()).toMatch(
      /503 nonce_store_unavailable: .*ioredis is not installed\. Run: npm install ioredis/,
    );
    await fleet.stop();
  });

  it.each([
    ['', 'REDIS_URL is empty.'],
    [' ', 'REDIS_URL contains only spaces.'],
    ['\t', 'REDIS_URL contains only spaces.'],
  ])('set to %j is a mistake, and not a choice of memory', async (url, cause) => {
    const { createAmesh } = await import('@authmesh/sdk');
    const amesh = createAmesh({ env: { REDIS_URL: url }, dir: '/nonexistent' });
    for (const verify of [amesh.verify, amesh.verifier]) {
      expect(() => verify()).toThrow(
        expect.objectContaining({ name: 'TypeError', message: `${cause} Set it, or unset it.` }),
      );
    }
  });

  it.each(['$'.concat('{REDIS_URL}'), '$REDIS_URL', 'undefined', 'null'])(
    'that is the text %s, which nobody has filled in, is a TypeError',
    async (url) => {
      const { createAmesh } = await import('@authmesh/sdk');
      const amesh = createAmesh({ env: { REDIS_URL: url }, dir: '/nonexistent' });
      expect(() => amesh.verify()).toThrow(
        expect.objectContaining({
          name: 'TypeError',
          message: 'REDIS_URL is not a Redis URL: it must begin with redis:// or rediss://.',
        }),
      );
    },
  );

  it('with a list given and no nonce store: a TypeError, since nothing reads it there', async () => {
    const { createServerVerifier } = await import('@authmesh/sdk/workers');
    const options = { allowList: '{}', ownerKey: 'Au9fpYt6nyAHfOwXr4ZvPuO1Srar4TX1Ai3lzLTCJU0H' };
    vi.stubEnv('REDIS_URL', 'redis://127.0.0.1:1');
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(() => createServerVerifier(options)).toThrow(
      'REDIS_URL is set, but there is no nonce store: bind AMESH_NONCES on Workers, or pass nonceStore:',
    );
  });

  it.concurrent('is one of two: AMESH_STORE_URL without ioredis refuses everybody, and prints the line that installs it', async () => {
    const fleet = await startFleet(0, {}, ['ioredis']);
    const server = await fleet.start({ AMESH_STORE_URL: 'redis://127.0.0.1:1', DEBUG: 'amesh' });
    await vi.waitFor(async () => {
      expect(await fleet.call(server)).toBe('503 {"error":"allow_list_unavailable"}');
      expect(server.stderr()).toContain(
        'refused 503 allow_list_unavailable: The store of the allow list failed: ioredis is not installed. Run: npm install ioredis [',
      );
    }, 10_000);
    await fleet.stop();
  });

  it.concurrent('that does not reply is one reason in the log, printed once', async () => {
    const fleet = await startFleet(1, { REDIS_URL: 'redis://127.0.0.1:1' });
    const [server] = fleet.servers as [Child];
    expect(await fleet.call(server)).toBe('503 {"error":"nonce_store_unavailable"}');
    expect(server.stderr()).toMatch(/: connect ECONNREFUSED 127\.0\.0\.1:1\. Check the store\./);
    expect(server.stderr().match(/ECONNREFUSED/g)).toHaveLength(1);
    await fleet.stop();
  });

  it('that is not a URL is a TypeError when verify() is called', async () => {
    const { createAmesh } = await import('@authmesh/sdk');
    const amesh = createAmesh({ env: { REDIS_URL: 'localhost' }, dir: '/nonexistent' });
    expect(() => amesh.verify()).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        message: 'REDIS_URL is not a Redis URL: it must begin with redis:// or rediss://.',
      }),
    );
  });
});
