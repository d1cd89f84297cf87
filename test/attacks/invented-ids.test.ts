import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AmeshOptions, createAmesh } from '@authmesh/sdk';
import { createIdentity, openDevice } from '@authmesh/sdk/admin';
import { toBase64Url, type Verifier } from '@authmesh/sdk/core';
import { createServerVerifier } from '@authmesh/sdk/workers';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeAuthMeshHeader } from '../../src/core/wire/header';
import { FileStore } from '../../src/storage/files/file-store';
import { toDocumentStore } from '../../src/storage/unstorage/document-store';
import { sharedKey } from '../../src/trust/list/keys';
import { randomId, withDevices } from '../support/list-document';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';

/** A stranger who invents a device for each request makes no store read anything: the pages are in memory. */

const HOST = 'api.example.com';
const REQUESTS = 1000;
/** Beyond the end of this test: then the list is read only where a request causes it. */
const POLL_SECONDS = 60;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterAll(() => rm(dir, { recursive: true, maxRetries: 20 }));
afterEach(() => vi.restoreAllMocks());

/** A target with a list of several pages. */
async function makeTarget(env: Record<string, string> = {}) {
  const folder = await mkdtemp(join(dir, 'target-'));
  await createIdentity(folder, env, { friendlyName: 'api' });
  const device = await openDevice(folder, env);
  const { pages } = await withDevices(device.trust, Array.from({ length: 1200 }, randomId));
  expect(pages.length).toBeGreaterThan(2);
  return { folder, device };
}

function verifierOf(options: AmeshOptions): Verifier {
  return createAmesh({ hosts: [HOST], onRefusal: () => {}, env: {}, ...options }).verifier();
}

/** One request of a device that nobody has. */
function invented() {
  const authorization = writeAuthMeshHeader(
    randomId(),
    Math.floor(Date.now() / 1000),
    toBase64Url(randomBytes(16)),
    toBase64Url(randomBytes(64)),
  );
  return {
    method: 'GET',
    target: '/',
    authority: HOST,
    headers: { host: HOST, authorization },
    body: new Uint8Array(),
  };
}

/** @param reads how often the store was read up to now */
async function expectNoRead(verifier: Verifier, reads: () => number | Promise<number>): Promise<void> {
  const first = await verifier.verify(invented());
  expect(first).toMatchObject({ ok: false, code: 'unknown_device' });
  const before = await reads();
  expect(before, 'the list was read once').toBeGreaterThan(0);
  for (let i = 0; i < REQUESTS; i++)
    expect(await verifier.verify(invented())).toMatchObject({ ok: false, code: 'unknown_device' });
  expect(await reads()).toBe(before);
}

describe(`${REQUESTS} invented devices read nothing`, () => {
  it('from a folder', async () => {
    const { folder } = await makeTarget();
    const spies = [vi.spyOn(FileStore.prototype, 'read'), vi.spyOn(FileStore.prototype, 'readPages')];
    const reads = () => spies.reduce((sum, { mock }) => sum + mock.calls.length, 0);
    await expectNoRead(verifierOf({ dir: folder }), reads);
  });

  it('from a storage of unstorage', async () => {
    const { createStorage } = await import('unstorage');
    const storage = createStorage();
    const { folder, device } = await makeTarget();
    const { head, pages } = await device.trust.open();
    await toDocumentStore(storage).swap(sharedKey(device.identity.deviceId), null, head, {
      write: pages,
      remove: [],
    });
    const spy = vi.spyOn(storage, 'getItemRaw');
    const verifier = verifierOf({ dir: folder, storage, pollSeconds: POLL_SECONDS });
    await expectNoRead(verifier, () => spy.mock.calls.length);
  });

  it('from a copy, as in KV', async () => {
    const { device } = await makeTarget();
    const { head, pages } = await device.trust.open();
    const text = new Uint8Array(Buffer.concat([head, ...pages.values()]));
    let count = 0;
    const verifier = createServerVerifier({
      allowList: async () => {
        count++;
        return text;
      },
      ownerKey: device.identity.publicKey,
      hosts: [HOST],
      maxStaleSeconds: 86_400,
    });
    await expectNoRead(verifier, () => count);
  });
});

describeWithRedis(`${REQUESTS} invented devices read nothing`, () => {
  let redis: RedisServer;
  let admin: Redis;
  beforeAll(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
  });
  afterAll(async () => {
    admin?.disconnect();
    await redis?.stop();
  });

  it('from Redis', async () => {
    const env = { AMESH_STORE_URL: redis.url };
    const { folder } = await makeTarget(env);
    const reads = async () =>
      Number(/^cmdstat_hget:calls=(\d+)/m.exec(await admin.info('commandstats'))?.[1]);
    await expectNoRead(verifierOf({ dir: folder, env, pollSeconds: POLL_SECONDS }), reads);
  });
});
