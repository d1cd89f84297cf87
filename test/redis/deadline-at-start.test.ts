import { it } from 'vitest';
import { callFor, expectInTime, PATIENTLY, startBoth } from '../support/deadline';
import { describeWithRedis } from '../support/redis';

describeWithRedis.concurrent('a refusal comes within the deadline and 100 ms', PATIENTLY, () => {
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
