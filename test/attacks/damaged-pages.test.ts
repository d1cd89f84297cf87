import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh, type Refusal } from '@authmesh/sdk';
import { createIdentity, type Device, openDevice } from '@authmesh/sdk/admin';
import { createClient, deviceIdOf, type Signer } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { bitsOf, findPrefix } from '../../src/trust/format/prefix';
import { newDevice, randomId, withDevices } from '../support/list-document';
import { type Listening, listen } from '../support/listen';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { SOON } from '../support/waiting';

/** Somebody who can write to the store of the list, but does not have the key, damages one of its pages. */

interface Caller {
  readonly deviceId: string;
  readonly status: () => Promise<number>;
}

let dir: string;
let env: Record<string, string>;
let device: Device;
let server: Listening;
let refusals: Refusal[];
/** Two callers whose entries are on different pages, and the name of the page of the first. */
let first: Caller;
let second: Caller;
let page: string;

async function start(variables: Record<string, string>): Promise<void> {
  env = variables;
  refusals = [];
  dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  await createIdentity(dir, env, { friendlyName: 'api' });
  device = await openDevice(dir, env);
  await withDevices(device.trust, Array.from({ length: 1200 }, randomId));
  first = await addCaller();
  do second = await addCaller();
  while ((await pageOf(second)) === (await pageOf(first)));
  page = await pageOf(first);
}

async function serve(): Promise<void> {
  const onRefusal = (refusal: Refusal) => void refusals.push(refusal);
  const verify = createAmesh({ dir, env, onRefusal: onRefusal as never }).verify();
  server = await listen((request, response) => verify(request, response, () => response.end('in')));
}

async function stop(): Promise<void> {
  await server.close();
  await rm(dir, { recursive: true, maxRetries: 20 });
}

async function addCaller(): Promise<Caller> {
  const signer: Signer = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
  const deviceId = await deviceIdOf(signer.publicKey, nodeCrypto);
  const publicKey = Buffer.from(signer.publicKey).toString('base64url');
  await device.trust.update((draft) => draft.put({ ...newDevice(deviceId), publicKey }));
  const client = createClient({ signer, targetOf: () => device.identity.deviceId });
  return { deviceId, status: async () => (await client.fetch(server.origin)).status };
}

async function pageOf({ deviceId }: Caller): Promise<string> {
  const { pages } = await device.trust.readHead();
  const at = findPrefix(
    pages.map(({ prefix }) => prefix),
    bitsOf(deviceId),
  );
  return pages[at]?.content as string;
}

/** A server that starts behind the damage refuses one caller and serves the other, and goes on when it is mended. */
async function expectOnlyItsDevices(mend: () => Promise<unknown>): Promise<void> {
  await serve();
  expect(await second.status()).toBe(200);
  expect(await first.status()).toBe(503);
  expect(refusals).toMatchObject([{ code: 'allow_list_unavailable' }]);
  await mend();
  await vi.waitFor(async () => expect(await first.status()).toBe(200), SOON);
}

describe('a page in a folder', () => {
  beforeEach(() => start({}));
  afterEach(stop);

  it.each<[string, (page: Buffer, other: Buffer) => Buffer | null]>([
    ['missing', () => null],
    ['empty', () => Buffer.alloc(0)],
    ['cut off', (page) => page.subarray(0, page.length / 2)],
    ['changed in one byte', (page) => Buffer.from(page).fill((page[200] as number) ^ 1, 200, 201)],
    ['another page of the same list', (_, other) => other],
    ['of 2 MB', () => Buffer.alloc(2_000_000, 'x')],
  ])('that is %s refuses only its devices, until it is restored', async (_, change) => {
    const path = join(dir, 'list', page);
    const { pages } = await device.trust.open();
    const own = Buffer.from(pages.get(page) as Uint8Array);
    const next = change(own, Buffer.from(pages.get(await pageOf(second)) as Uint8Array));
    if (next === null) await rm(path);
    else await writeFile(path, next);
    await expectOnlyItsDevices(() => writeFile(path, own));
  });
});

describeWithRedis('a page in Redis', () => {
  let redis: RedisServer;
  let admin: Redis;
  beforeEach(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
    await start({ AMESH_STORE_URL: redis.url });
  });
  afterEach(async () => {
    await stop();
    admin.disconnect();
    await redis.stop();
  });

  it.each([
    ['missing', null],
    ['of 2 MB', 'x'.repeat(2_000_000)],
  ])('that is %s refuses only its devices, until it is restored', async (_, next) => {
    const key = `amesh:list:${device.identity.deviceId}`;
    const own = (await admin.hgetBuffer(key, page)) as Buffer;
    if (next === null) await admin.hdel(key, page);
    else await admin.hset(key, page, next);
    await expectOnlyItsDevices(() => admin.hset(key, page, own));
  });
});
