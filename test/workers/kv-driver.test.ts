import { createClient } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { signerOf } from '../support/core';
import type { RuntimeServer } from '../support/runtime-server';
import { vectors } from '../support/vectors';
import { type Kv, startKv, startWorker } from '../support/worker';
import { runtime } from './workerd';

const { controller, target } = vectors.devices;

describe.skipIf(runtime === null)('the KV driver of unstorage, in workerd', () => {
  let kv: Kv;
  let administrator: RuntimeServer;
  let worker: RuntimeServer;
  beforeAll(async () => {
    kv = await startKv(null);
    const script = 'test/workers/administrator.ts';
    const owner = { OWNER: target.deviceId, OWNER_KEY: JSON.stringify(target.privateKeyJwk) };
    administrator = await startWorker(owner, { kv, script, hasNode: true });
    worker = await startWorker({ AMESH_OWNER_KEY: target.publicKey, MAX_STALE: '1' }, { kv });
  });
  afterAll(async () => {
    await Promise.all([administrator?.close(), worker?.close()]);
    await kv?.close();
  });

  async function ask(path: string, { name = '', publicKey = '', deviceId = '' } = {}) {
    const query = new URLSearchParams({ name, publicKey, deviceId });
    const response = await fetch(`http://127.0.0.1:${administrator.port}${path}?${query}`);
    return response.json();
  }

  it('writes a list and its changes, and reads what it has written', async () => {
    expect(await ask('/create')).toEqual({ revision: 1, names: [] });
    const added = { revision: 2, names: ['caller'] };
    expect(await ask('/add', { ...controller, name: 'caller' })).toEqual(added);
    expect(await ask('/read')).toEqual(added);
    expect(kv.value).toMatch(/^base64:/); // as unstorage puts bytes down in a store of texts
    expect(await ask('/create')).toMatchObject({ code: 'store_conflict' });
  });

  it('says once that two administrators at a time are one too many', () => {
    expect(administrator.stderr().match(/If two administrators .* cloudflare-kv-binding/g)).toHaveLength(1);
  });

  it('writes what a protected Worker reads: it accepts a device that was added, and refuses one that was revoked', async () => {
    const { fetch } = createClient({ signer: await signerOf('controller'), targetOf: () => target.deviceId });
    const status = async () => (await fetch(`http://127.0.0.1:${worker.port}/`)).status;
    const soon = { timeout: 10_000 };
    await vi.waitFor(async () => expect(await status()).toBe(200), soon);
    expect(await ask('/revoke', { deviceId: controller.deviceId })).toEqual({ revision: 3, names: [] });
    await vi.waitFor(async () => expect(await status()).toBe(401), soon);
  });

  it('uses no list that KV shows again, and none that was changed', async () => {
    const newest = kv.value as string;
    expect(await ask('/add', { ...vectors.devices.stranger, name: 'other' })).toMatchObject({ revision: 4 });
    const fourth = kv.value as string;
    kv.value = newest;
    expect(await ask('/revoke', { deviceId: controller.deviceId })).toMatchObject({
      code: 'allow_list_unavailable',
      message: expect.stringContaining('revision 3, but this machine has seen 4'),
    });
    const changed = Buffer.from(fourth.slice('base64:'.length), 'base64')
      .toString()
      .replace('other', 'mallo');
    kv.value = `base64:${Buffer.from(changed).toString('base64')}`;
    expect(await ask('/read')).toMatchObject({ code: 'allow_list_integrity_failure' });
    kv.value = Buffer.from(fourth.slice('base64:'.length), 'base64').toString(); // as wrangler puts it there
    expect(await ask('/read')).toEqual({ revision: 4, names: ['other'] });
  });

  it('reads the pages of a long list, and keeps the last list until the pages of a new one are there', async () => {
    const { fetch } = createClient({ signer: await signerOf('controller'), targetOf: () => target.deviceId });
    const status = async () => (await fetch(`http://127.0.0.1:${worker.port}/`)).status;
    const soon = { timeout: 10_000 };
    await ask('/add', { ...controller, name: 'caller' });
    await vi.waitFor(async () => expect(await status()).toBe(200), soon);
    expect((await ask('/fill')).names).toHaveLength(202);
    expect(kv.pages.size).toBeGreaterThan(0);
    await vi.waitFor(async () => expect(await status()).toBe(200), soon);

    const pages = new Map(kv.pages);
    kv.pages.clear();
    const fresh = await startWorker({ AMESH_OWNER_KEY: target.publicKey, MAX_STALE: '1' }, { kv });
    const statusOfFresh = async () => (await fetch(`http://127.0.0.1:${fresh.port}/`)).status;
    await vi.waitFor(async () => expect(await statusOfFresh()).toBe(503), soon);
    expect(await status()).toBe(200); // holds them in memory
    for (const [key, page] of pages) kv.pages.set(key, page);
    await vi.waitFor(async () => expect(await statusOfFresh()).toBe(200), soon);
    await fresh.close();

    expect((await ask('/revoke', { deviceId: controller.deviceId })).names).toHaveLength(201);
    await vi.waitFor(async () => expect(await status()).toBe(401), soon);
  });

  it('says that nothing was changed if KV is down', async () => {
    kv.value = 'down';
    expect(await ask('/add', { ...controller, name: 'caller' })).toMatchObject({
      code: 'allow_list_unavailable',
    });
  });
});
