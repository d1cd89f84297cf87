import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import { signRequest } from '@authmesh/sdk/core';
import { RedisNonceStore } from '@authmesh/sdk/redis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { opened, randomNonce } from '../support/nonce-store';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';

/** Beyond the time that a request waits for Redis. */
const BUSY_MS = 600;

function beBusy(): void {
  const endsAt = performance.now() + BUSY_MS;
  while (performance.now() < endsAt);
}

/** What this process was busy with is no silence of Redis. */
describeWithRedis('a process that computes for longer than it waits for Redis', () => {
  let redis: RedisServer;
  let root: string;
  beforeAll(async () => {
    redis = await startRedis();
    root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  });
  afterAll(async () => {
    await redis?.stop();
    await rm(root, { recursive: true, maxRetries: 20 });
  });

  it('accepts a reply to a claim that came in the meantime', async () => {
    const store = await opened(new RedisNonceStore(redis.url));
    const claim = store.claim('am_AAAAAAAAAAAAAAAA', randomNonce(), Date.now() + 60_000);
    setImmediate(beBusy); // when the command has been written
    expect(await claim).toBe(true);
    await store.close();
  });

  it('accepts its first caller, whose list came in the meantime', async () => {
    const env = { AMESH_STORE_URL: redis.url };
    const [dir, callerDir] = [join(root, 'target'), join(root, 'caller')];
    await createIdentity(dir, env, { friendlyName: 'api' });
    const caller = await createIdentity(callerDir, {}, { friendlyName: 'caller' });
    const { trust } = await openDevice(dir, env);
    await trust.update((list) => addDevice(list, { ...caller, role: 'controller', hosts: [] }, 0));
    const { signer } = await openDevice(callerDir, {});
    const signed = await signRequest(new Request('https://api.example.com/'), signer);
    const verifier = createAmesh({ dir, env, hosts: ['api.example.com'] }).verifier();
    const verdict = verifier.verify(signed);
    for (let turns = 0; turns < 5; turns++) setImmediate(beBusy);
    expect(await verdict).toMatchObject({ ok: true });
  });
});
