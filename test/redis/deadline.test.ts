import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { createServer, get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import { signRequest } from '@authmesh/sdk/core';
import { RedisNonceStore, type RedisNonceStoreOptions } from '@authmesh/sdk/redis';
import { Redis } from 'ioredis';
import { afterAll, expect, it, type TestContext } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { StolenTime } from '../support/pauses';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { startRedisSentinel } from '../support/redis-cluster';
import { type SlowProxy, startSlowProxy } from '../support/slow-proxy';

const DEADLINE_MS = 250;
/** What the rest of a refusal may take. */
const REST_MS = 100;
const EVERY_MS = 60;

const stolen = new StolenTime();
afterAll(() => stolen.stop());

/** One request that is new, by a device that is trusted. */
interface Sample {
  readonly status: number;
  readonly body: string;
  readonly tookMs: number;
  /** For how much of it other processes had the core. */
  readonly stolenMs: number;
}

type Call = () => Promise<Sample>;

/** Ends what a test has begun, the last first. */
type Later = TestContext['onTestFinished'];

/** An instance in this process, whose event loop is that of the test: where the one is late, the other is. */
async function makeTarget(later: Later, env: Record<string, string> = {}) {
  const root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  later(() => rm(root, { recursive: true, maxRetries: 20 }));
  const [dir, callerDir] = [join(root, 'target'), join(root, 'caller')];
  await createIdentity(dir, env, { friendlyName: 'api' });
  const caller = await createIdentity(callerDir, {}, { friendlyName: 'caller' });
  const { trust } = await openDevice(dir, env);
  await trust.update((list) => addDevice(list, { ...caller, role: 'controller', hosts: [] }, 0));
  const { signer } = await openDevice(callerDir, {});

  return async (more: Record<string, string>, nonces?: RedisNonceStoreOptions): Promise<Call> => {
    const nonceStore = nonces && new RedisNonceStore(nonces);
    const verify = createAmesh({ dir, env: { ...env, ...more }, nonceStore, hosts: ['api'] }).verify();
    const server = await listen(
      createServer((request, response) => verify(request, response, () => response.end())),
    );
    later(async () => {
      await server.close();
      await nonceStore?.close();
    });
    return async () => {
      const signed = await signRequest(new Request('http://api/'), signer);
      const headers = { ...Object.fromEntries(signed.headers), host: 'api', connection: 'close' };
      return ask(server, headers);
    };
  };
}

async function ask({ port }: Listening, headers: Record<string, string>): Promise<Sample> {
  const [startedAt, stolenBefore] = [performance.now(), stolen.ms];
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get({ port, host: '127.0.0.1', headers, agent: false }, resolve).on('error', reject);
  });
  const body = await text(response);
  const tookMs = performance.now() - startedAt;
  return { status: response.statusCode ?? 0, body, tookMs, stolenMs: stolen.ms - stolenBefore };
}

/** Calls again and again, whatever has become of those before. */
async function callFor(ms: number, call: Call): Promise<Sample[]> {
  const samples: Promise<Sample>[] = [];
  for (const endsAt = performance.now() + ms; performance.now() < endsAt; await sleep(EVERY_MS)) {
    samples.push(call());
  }
  return Promise.all(samples);
}

async function untilPassed(call: Call, waitMs = 20_000): Promise<Sample[]> {
  const samples: Promise<Sample>[] = [];
  let isOver = false;
  for (
    const endsAt = performance.now() + waitMs;
    !isOver && performance.now() < endsAt;
    await sleep(EVERY_MS)
  ) {
    const sample = call();
    samples.push(sample);
    sample.then(({ status }) => {
      isOver ||= status === 200;
    });
  }
  const all = await Promise.all(samples);
  expect(isOver).toBe(true);
  return all;
}

/** Each refusal came in time, but for the time that the machine gave to others. */
function expectInTime(what: string, samples: readonly Sample[], answers = /unavailable/): void {
  const refused = samples.filter(({ status }) => status !== 200);
  expect(refused.length).toBeGreaterThan(0);
  const took = refused.map(({ tookMs, stolenMs }) => Math.round(tookMs - stolenMs)).sort((a, b) => a - b);
  console.log(`${what}: median ${took[took.length >> 1]} ms, worst ${took.at(-1)} ms of ${took.length}`);
  const late = refused
    .filter(({ tookMs, stolenMs }) => tookMs - stolenMs > DEADLINE_MS + REST_MS)
    .map(({ body, tookMs, stolenMs }) => `${body} ${Math.round(tookMs)} ms, ${Math.round(stolenMs)} stolen`);
  expect(late).toEqual([]);
  for (const { body } of refused) expect(body).toMatch(answers);
}

/** Has the threads of this process, which read its files, wait for pipes into which nobody writes. */
async function takeThreads(later: Later): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  const pipes = Array.from({ length: 16 }, (_, index) => join(root, `pipe${index}`));
  execFileSync('mkfifo', pipes);
  const opening = pipes.map((pipe) => open(pipe));
  later(async () => {
    const ends = pipes.map((pipe) => openSync(pipe, 'r+'));
    for (const file of await Promise.all(opening)) await file.close();
    for (const end of ends) closeSync(end);
    await rm(root, { recursive: true, maxRetries: 20 });
  });
}

/** Nonces and list in one Redis. */
async function startBoth(later: Later, toUrl = async ({ url }: RedisServer) => url) {
  const redis = await startRedis();
  later(() => redis.stop());
  const url = await toUrl(redis);
  const start = await makeTarget(later, { AMESH_STORE_URL: url, REDIS_URL: url });
  const call = await start({});
  await untilPassed(call);
  return { redis, start, call };
}

const RECOVERING = /unavailable|timestamp_out_of_range/;

describeWithRedis.concurrent('a refusal comes within the deadline and 100 ms', { timeout: 60_000 }, () => {
  it('where Redis is stopped, and started anew', async ({ onTestFinished }) => {
    const { redis, call } = await startBoth(onTestFinished);
    await redis.stop();
    expectInTime('stopped', await callFor(4000, call));
    await redis.restart();
    // It has lost the list, too.
    expectInTime('started anew', await callFor(2000, call), /unavailable|timestamp|allow_list_integrity/);
  });

  it('where Redis sleeps (SIGSTOP)', async ({ onTestFinished }) => {
    const { redis, call } = await startBoth(onTestFinished);
    redis.pause();
    const samples = await callFor(6000, call);
    redis.resume();
    expectInTime('asleep', [...samples, ...(await untilPassed(call))], RECOVERING);
  });

  it('where each answer of Redis takes a second', async ({ onTestFinished }) => {
    let proxy: SlowProxy | undefined;
    const { call } = await startBoth(onTestFinished, async ({ port }) => {
      proxy = await startSlowProxy(port);
      onTestFinished(async () => proxy?.close());
      return `redis://127.0.0.1:${proxy.port}`;
    });
    if (proxy !== undefined) proxy.delayMs = 1000;
    expectInTime('slow', await callFor(5000, call));
  });

  it('where Redis is full', async ({ onTestFinished }) => {
    const { redis, call } = await startBoth(onTestFinished);
    const admin = new Redis(redis.url);
    onTestFinished(() => admin.disconnect());
    await admin.set('filler', 'x'.repeat(4_000_000));
    await admin.config('SET', 'maxmemory', '3mb');
    expectInTime('full', await callFor(3000, call));
  });

  it('where Redis is restarted empty', async ({ onTestFinished }) => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const call = await (await makeTarget(onTestFinished))({ REDIS_URL: redis.url });
    await untilPassed(call);
    const [samples] = await Promise.all([callFor(2000, call), redis.restart()]);
    expectInTime('restarted empty', [...samples, ...(await untilPassed(call))], RECOVERING);
  });

  it('where a replica takes over', async ({ onTestFinished }) => {
    const { sentinelPort, name, master, stop } = await startRedisSentinel();
    onTestFinished(stop);
    const sentinels = [{ host: '127.0.0.1', port: sentinelPort }];
    const call = await (await makeTarget(onTestFinished))({}, { redis: { sentinels, name } });
    await untilPassed(call);
    await master.stop();
    const samples = await callFor(1000, call);
    expectInTime('failed over', [...samples, ...(await untilPassed(call))], RECOVERING);
  });
});

describeWithRedis('a refusal comes in time with no thread left to read a file', () => {
  it('where Redis is stopped', async ({ onTestFinished }) => {
    const { redis, call } = await startBoth(onTestFinished);
    await redis.stop();
    await takeThreads(onTestFinished);
    expectInTime('no thread', await callFor(5000, call));
  });

  it('of an instance that has started while Redis is stopped', async ({ onTestFinished }) => {
    const { redis, start } = await startBoth(onTestFinished);
    await redis.stop();
    const cold = await start({ AMESH_STORE_URL: redis.url.replace('127.0.0.1', '127.0.0.2') });
    await cold();
    await takeThreads(onTestFinished);
    expectInTime('no thread at the start', await callFor(5000, cold));
  });
});

// Not beside those above: what they do takes time from a start.
describeWithRedis.concurrent('a refusal comes within the deadline and 100 ms', { timeout: 60_000 }, () => {
  it.for(['stopped', 'asleep'])(
    'of an instance that starts while Redis is %s',
    async (how, { onTestFinished }) => {
      const { redis, start } = await startBoth(onTestFinished);
      if (how === 'asleep') redis.pause();
      else await redis.stop();
      // By another name, so that nothing of it is connected yet.
      const url = `redis://localhost:${redis.port}`;
      const cold = await start({ AMESH_STORE_URL: url, REDIS_URL: url });
      expectInTime(`${how} at the start`, await callFor(5000, cold));
      if (how === 'asleep') redis.resume();
    },
  );
});
