import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Child } from '../support/child';
import { type Captured, type Fleet, startFleet, until } from '../support/fleet';
import { times } from '../support/full';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { startRedisCluster, startRedisSentinel } from '../support/redis-cluster';
import { startSlowProxy } from '../support/slow-proxy';

const ROUNDS = times(30, 500);
const PASSED = '200 passed';
const REPLAYED = '401 {"error":"unauthorized"}';
const TOO_OLD = '401 {"error":"timestamp_out_of_range"}';
const UNAVAILABLE = '503 {"error":"nonce_store_unavailable"}';

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

describeWithRedis('four processes with one Redis', () => {
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

describeWithRedis('four processes with a cluster of three', () => {
  it(`one captured request sent to all at once, ${ROUNDS} times: exactly one accepts it`, async () => {
    const cluster = await startRedisCluster();
    const fleet = await startFleet(4, { CLUSTER: cluster.masters.map(({ url }) => url).join(',') });
    try {
      for (const server of fleet.servers) expect(await until(PASSED, () => fleet.call(server))).toBe(PASSED);
      await expectOneEach(fleet);
    } finally {
      await fleet.stop();
      await cluster.stop();
    }
  }, 180_000);
});

describeWithRedis('a Redis that fails', { timeout: 120_000 }, () => {
  let redis: RedisServer;
  let fleet: Fleet;
  let server: Child;
  async function start(args: readonly string[] = [], url?: (redis: RedisServer) => Promise<string>) {
    redis = await startRedis({ args });
    await startServer({ REDIS_URL: url === undefined ? redis.url : await url(redis) });
  }
  async function startServer(env: Record<string, string>) {
    fleet = await startFleet(1, env);
    [server] = fleet.servers as [Child];
    expect(await until(PASSED, () => fleet.call(server), 20_000), server.stderr()).toBe(PASSED);
  }
  afterEach(async () => {
    expect(server.stderr()).not.toContain('UNHANDLED');
    await fleet.stop();
    await redis.stop();
  });

  /** Requests that were accepted, in the form in which an attacker who recorded them sends them again. */
  async function capture(count = 20) {
    const captured: Captured[] = [];
    for (let tries = 0; captured.length < count && tries < 2 * count; tries++) {
      const each = await fleet.sign();
      const answer = await fleet.send(server, each);
      if (answer === PASSED) captured.push(each);
      else expect(answer).toBe(UNAVAILABLE); // of a Redis that a busy machine holds up
    }
    expect(captured).toHaveLength(count);
    return captured;
  }

  /** Refuses new requests and old ones alike; deadline.test.ts says how soon. */
  async function expectRefusals(captured: Awaited<ReturnType<typeof capture>>): Promise<void> {
    for (let round = 0; round < 5; round++) {
      const all = [...captured.slice(0, 5), await fleet.sign()];
      const answers = await Promise.all(all.map((each) => fleet.send(server, each)));
      expect(new Set(answers)).toEqual(new Set([UNAVAILABLE]));
    }
  }

  async function expectRecovery(
    captured: Awaited<ReturnType<typeof capture>>,
    old: string[],
    waitMs = 60_000, // deadline.test.ts says how soon
  ): Promise<void> {
    // As soon as anything passes again, and before: none of the old ones ever does.
    for (const endsAt = Date.now() + waitMs; ; ) {
      const answers = await Promise.all(captured.map((each) => fleet.send(server, each)));
      for (const answer of answers) expect([UNAVAILABLE, ...old]).toContain(answer);
      if ((await fleet.call(server)) === PASSED) break;
      expect(Date.now()).toBeLessThan(endsAt);
    }
    const answers = await Promise.all(captured.map((each) => fleet.send(server, each)));
    for (const answer of answers) expect(old).toContain(answer);
  }

  it('stopped: refused, and recovered without a restart; replays from before are refused by their time', async () => {
    await start();
    const captured = await capture();
    await redis.stop();
    await expectRefusals(captured);
    await redis.restart();
    await expectRecovery(captured, [TOO_OLD]);
  });

  it('stopped in its sleep (SIGSTOP), longer than its mark lasts: refused, and nothing from before passes again', async () => {
    await start();
    const captured = await capture();
    redis.pause();
    await expectRefusals(captured);
    await new Promise((resolve) => setTimeout(resolve, 3500)); // longer than a check waits
    await expectRefusals(captured);
    redis.resume();
    await expectRecovery(captured, [TOO_OLD, REPLAYED]);
  });

  it('slow, each answer 1 s: refused', async () => {
    let proxy: Awaited<ReturnType<typeof startSlowProxy>> | undefined;
    await start([], async ({ port }) => {
      proxy = await startSlowProxy(port);
      return `redis://127.0.0.1:${proxy.port}`;
    });
    const captured = await capture();
    if (proxy !== undefined) proxy.delayMs = 1000;
    await expectRefusals(captured);
    if (proxy !== undefined) proxy.delayMs = 0;
    await expectRecovery(captured, [TOO_OLD, REPLAYED]);
    await proxy?.close();
  });

  it('full (maxmemory, noeviction): refused, and what it holds is not forgotten', async () => {
    await start();
    const captured = await capture();
    const admin = new Redis(redis.url);
    await admin.set('filler', 'x'.repeat(4_000_000));
    await admin.config('SET', 'maxmemory', '3mb');
    await expect(admin.set('more', 'x')).rejects.toThrow(/^OOM/);
    await expectRefusals(captured);
    await admin.config('SET', 'maxmemory', '0');
    admin.disconnect();
    await expectRecovery(captured, [REPLAYED]);
  });

  it('restarted empty, at once: replays from before are refused by their time', async () => {
    await start();
    const captured = await capture(100);
    await redis.restart();
    await expectRecovery(captured, [TOO_OLD]);
  });

  it('a master that fails over to its replica, by a sentinel: replays from before are refused by nonce or time', async () => {
    const { sentinelPort, name, master, replica, stop } = await startRedisSentinel();
    redis = { ...replica, stop };
    const sentinels = [{ host: '127.0.0.1', port: sentinelPort }];
    await startServer({ NONCES: JSON.stringify({ redis: { sentinels, name } }) });
    const captured = await capture(100);
    await master.stop();
    await expectRecovery(captured, [TOO_OLD, REPLAYED], 30_000);
    expect(server.stderr()).not.toContain('UNHANDLED');
  }, 60_000);

  it('restarted empty, with strictRestart: not even a request from a clock ahead passes twice', async () => {
    redis = await startRedis();
    const clockSkewSeconds = 1; // with those 10 s by which instances may differ: 11 s
    await startServer({
      NONCES: JSON.stringify({ url: redis.url, strictRestart: true, clockSkewSeconds }),
      SKEW: String(clockSkewSeconds),
    });
    const ahead = await fleet.sign(Math.floor(Date.now() / 1000) + 1);
    expect(await fleet.send(server, ahead)).toBe(PASSED);
    await redis.restart();
    const restartedAt = Date.now();
    await expectRecovery([ahead], [TOO_OLD], 30_000);
    expect(Date.now() - restartedAt).toBeGreaterThan(10_000);
  }, 60_000);

  it('restarted empty together with the server', async () => {
    await start();
    const captured = await capture(100);
    server.kill('SIGKILL');
    await Promise.all([server.ended, redis.restart()]);
    server = await fleet.start();
    await expectRecovery(captured, [TOO_OLD]);
  });
});

describe('REDIS_URL', () => {
  it('without ioredis, in a bundle: prints the line that installs it, once, and refuses everybody', async () => {
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

  it('without ioredis, in a bundle: new RedisNonceStore() says why it refuses', async () => {
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
  ])('set to %j is a mistake, and no wish for memory', async (url, cause) => {
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

  it('where a list is given and no nonce store: a TypeError, since nothing reads it there', async () => {
    const { createServerVerifier } = await import('@authmesh/sdk/workers');
    const options = { allowList: '{}', ownerKey: 'Au9fpYt6nyAHfOwXr4ZvPuO1Srar4TX1Ai3lzLTCJU0H' };
    vi.stubEnv('REDIS_URL', 'redis://127.0.0.1:1');
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(() => createServerVerifier(options)).toThrow(
      'REDIS_URL is set, but there is no nonce store: bind AMESH_NONCES on Workers, or pass nonceStore:',
    );
  });

  it('is one of two: AMESH_STORE_URL without ioredis refuses everybody, with the line that installs it', async () => {
    const fleet = await startFleet(0, {}, ['ioredis']);
    const server = await fleet.start({ AMESH_STORE_URL: 'redis://127.0.0.1:1', DEBUG: 'amesh' });
    await vi.waitFor(async () => {
      expect(await fleet.call(server)).toBe('503 {"error":"allow_list_unavailable"}');
      expect(server.stderr()).toContain(
        'refused 503 allow_list_unavailable: The store of the allow list failed: ioredis is not installed. Run: npm install ioredis [',
      );
    }, 10_000);
    await fleet.stop();
  }, 30_000);

  it('that does not answer is one reason in the log, said once', async () => {
    const fleet = await startFleet(1, { REDIS_URL: 'redis://127.0.0.1:1' });
    const [server] = fleet.servers as [Child];
    expect(await fleet.call(server)).toBe('503 {"error":"nonce_store_unavailable"}');
    expect(server.stderr()).toMatch(/: connect ECONNREFUSED 127\.0\.0\.1:1\. Check the store\./);
    expect(server.stderr().match(/ECONNREFUSED/g)).toHaveLength(1);
    await fleet.stop();
  });

  it('that is no URL is a TypeError where verify() is called', async () => {
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
