import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, it } from 'vitest';
import { type Call, callFor, expectInTime, type Later, startBoth } from '../support/deadline';
import { describeWithRedis } from '../support/redis';

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

describeWithRedis.concurrent('a refusal comes in time with no thread left to read a file', () => {
  let call: Call;
  let cold: Call;
  const endings: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    const later: Later = (end) => void endings.unshift(end);
    const both = await startBoth(later);
    call = both.call;
    await both.redis.stop();
    cold = await both.start({ AMESH_STORE_URL: both.redis.url.replace('127.0.0.1', '127.0.0.2') });
    await cold();
    await takeThreads(later);
  });
  afterAll(async () => {
    for (const end of endings) await end();
  });

  it('if Redis is stopped', async () => {
    expectInTime('no thread', await callFor(5000, call));
  });

  it('from an instance that has started while Redis is stopped', async () => {
    expectInTime('no thread at the start', await callFor(5000, cold));
  });
});
