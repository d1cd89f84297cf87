import { Redis } from 'ioredis';
import { it } from 'vitest';
import {
  callFor,
  expectInTime,
  makeTarget,
  PATIENTLY,
  RECOVERING,
  startBoth,
  untilPassed,
} from '../support/deadline';
import { describeWithRedis, startRedis } from '../support/redis';
import { startRedisSentinel } from '../support/redis-cluster';
import { type SlowProxy, startSlowProxy } from '../support/slow-proxy';

describeWithRedis.concurrent('a refusal comes within the deadline and 100 ms', PATIENTLY, () => {
  it('if Redis is stopped, and started again', async ({ onTestFinished }) => {
    const { redis, call } = await startBoth(onTestFinished);
    await redis.stop();
    expectInTime('stopped', await callFor(4000, call));
    await redis.restart();
    // It has lost the list, too.
    expectInTime('started anew', await callFor(2000, call), /unavailable|timestamp|allow_list_integrity/);
  });

  it('if Redis sleeps (SIGSTOP)', async ({ onTestFinished }) => {
    const { redis, call } = await startBoth(onTestFinished);
    redis.pause();
    const samples = await callFor(6000, call);
    redis.resume();
    expectInTime('asleep', [...samples, ...(await untilPassed(call))], RECOVERING);
  });

  it('if each reply of Redis takes a second', async ({ onTestFinished }) => {
    let proxy: SlowProxy | undefined;
    const { call } = await startBoth(onTestFinished, async ({ port }) => {
      proxy = await startSlowProxy(port);
      onTestFinished(async () => proxy?.close());
      return `redis://127.0.0.1:${proxy.port}`;
    });
    if (proxy !== undefined) proxy.delayMs = 1000;
    expectInTime('slow', await callFor(5000, call));
  });

  it('if Redis is full', async ({ onTestFinished }) => {
    const { redis, call } = await startBoth(onTestFinished);
    const admin = new Redis(redis.url);
    onTestFinished(() => admin.disconnect());
    await admin.set('filler', 'x'.repeat(4_000_000));
    await admin.config('SET', 'maxmemory', '3mb');
    expectInTime('full', await callFor(3000, call));
  });

  it('if Redis is restarted empty', async ({ onTestFinished }) => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const call = await (await makeTarget(onTestFinished))({ REDIS_URL: redis.url });
    await untilPassed(call);
    const [samples] = await Promise.all([callFor(2000, call), redis.restart()]);
    expectInTime('restarted empty', [...samples, ...(await untilPassed(call))], RECOVERING);
  });

  it('if a replica takes over', async ({ onTestFinished }) => {
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
