import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { createStorage, prefixStorage, type Storage } from 'unstorage';
import fsDriver from 'unstorage/drivers/fs';
import memoryDriver from 'unstorage/drivers/memory';
import redisDriver from 'unstorage/drivers/redis';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { RedisDocumentStore } from '../../src/storage/redis/documents/document-store';
import { toDocumentStore } from '../../src/storage/unstorage/document-store';
import { callsOf } from '../support/calls-of';
import { documentStoreContract } from '../support/document-store-contract';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { startSlowProxy } from '../support/slow-proxy';
import { startTcpSwitch } from '../support/tcp-switch';
import { SOON } from '../support/waiting';

const bytes = (text: string) => new TextEncoder().encode(text);

describeWithRedis('with Redis', () => {
  let redis: RedisServer;
  let admin: Redis;
  const opened: RedisDocumentStore[] = [];
  const storages: { dispose(): Promise<void> }[] = [];
  beforeAll(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
  });
  beforeEach(() => admin.flushall());
  afterAll(async () => {
    for (const store of opened) store.close();
    await Promise.all(storages.map((storage) => storage.dispose()));
    admin.disconnect();
    await redis.stop();
  });

  function open(): RedisDocumentStore {
    const store = new RedisDocumentStore({ kind: 'url', url: redis.url, redis: {} }, 'amesh:');
    opened.push(store);
    return store;
  }

  documentStoreContract('RedisDocumentStore', async () => ({ store: open(), reopen: open }));

  function storageAt(base: string) {
    const storage = createStorage({ driver: redisDriver({ url: redis.url, base }) });
    storages.push(storage);
    return storage;
  }
  const openDriver = (base: string) => toDocumentStore(storageAt(base));
  documentStoreContract('the redis driver of unstorage', async () => ({
    store: openDriver('app'),
    reopen: () => openDriver('app'),
  }));

  it('keeps a document and its pages as fields of one hash, which never ends', async () => {
    await openDriver('app').swap('list:am_x', null, bytes('{"a":1}\n'));
    expect(await admin.hgetall('app:list:am_x')).toEqual({ document: '{"a":1}\n' });
    const page = 'A'.repeat(43);
    const pages = { write: new Map([[page, bytes('one')]]), remove: [] };
    await open().swap('list:am_x', null, bytes('{"b":1}\n'), pages);
    expect(await admin.hgetall('amesh:list:am_x')).toEqual({ document: '{"b":1}\n', [page]: 'one' });
    expect(await admin.ttl('amesh:list:am_x')).toBe(-1);
  });

  it('treats a key of another type as an empty document, which a swap replaces', async () => {
    await storageAt('app').setItem('list:am_x', '{"a":1}\n');
    const store = openDriver('app');
    expect(await store.read('list:am_x')).toEqual(new Uint8Array());
    expect(await store.readPages('list:am_x', ['A'.repeat(43)], 1000)).toEqual([null]);
    expect(await store.swap('list:am_x', null, bytes('one'))).toBe(false);
    expect(await store.swap('list:am_x', new Uint8Array(), bytes('one'))).toBe(true);
    expect(await store.read('list:am_x')).toEqual(bytes('one'));
  });

  it('does not send a document that is larger than the reader wants', async () => {
    const store = open();
    await store.swap('list:am_x', null, new Uint8Array(100_000));
    const before = Number(/total_net_output_bytes:(\d+)/.exec(await admin.info('stats'))?.[1]);
    expect(await store.read('list:am_x', 10)).toHaveLength(10);
    const after = Number(/total_net_output_bytes:(\d+)/.exec(await admin.info('stats'))?.[1]);
    expect(after - before).toBeLessThan(50_000);
  });

  it('asks for a few pages at a time, so that each reply is short', async () => {
    const store = open();
    const names = Array.from({ length: 16 }, (_, i) => String(i).padStart(43, 'A'));
    const write = new Map(names.map((name) => [name, bytes(name)]));
    await store.swap('list:am_x', null, bytes('{}\n'), { write, remove: [] });
    await admin.config('RESETSTAT');
    expect(await store.readPages('list:am_x', names, 1000)).toEqual(names.map(bytes));
    expect(await admin.info('commandstats')).toMatch(/^cmdstat_eval:calls=4,/m);
  });

  it('tells those who watch of a change, also after its connections were cut', async () => {
    let told = 0;
    const watching = open();
    watching.watch('list', () => {
      told++;
    });
    await vi.waitFor(() => expect(told).toBe(1), SOON); // listens from here on
    await open().swap('list', null, bytes('one'));
    await vi.waitFor(() => expect(told).toBe(2), SOON);
    await admin.client('KILL', 'TYPE', 'pubsub');
    await vi.waitFor(() => expect(told).toBe(3), SOON); // may have missed one
    await open().swap('list', bytes('one'), bytes('two'));
    await vi.waitFor(() => expect(told).toBe(4), SOON);
  });

  it('tells those who watch of a change, also after Redis was gone without a word', async () => {
    const proxy = await startSlowProxy(Number(new URL(redis.url).port));
    const url = `redis://127.0.0.1:${proxy.port}`;
    const watching = new RedisDocumentStore({ kind: 'url', url, redis: {} }, 'amesh:', 100);
    opened.push(watching);
    let told = 0;
    watching.watch('list', () => {
      told++;
    });
    await vi.waitFor(() => expect(told).toBe(1), SOON); // listens from here on
    await sleep(500);
    expect(told).toBe(1); // its answers are none of the messages, and the connection stays
    proxy.freeze();
    await open().swap('list', null, bytes('one'));
    await vi.waitFor(() => expect(told).toBe(2), SOON); // it listens anew, and may have missed one
    await open().swap('list', bytes('one'), bytes('two'));
    await vi.waitFor(() => expect(told).toBe(3), SOON);
    await proxy.close();
  });

  it('follows its address to another Redis, although the old one still runs as a master', async () => {
    const [first, second] = await Promise.all([startRedis(), startRedis()]);
    const address = await startTcpSwitch(first.port);
    const source = { kind: 'url', url: `redis://127.0.0.1:${address.port}`, redis: {} } as const;
    const store = new RedisDocumentStore(source, 'amesh:', 100);
    const elsewhere = new RedisDocumentStore({ kind: 'url', url: second.url, redis: {} }, 'amesh:');
    opened.push(store, elsewhere);
    const seen: string[] = [];
    store.watch('list', async () => {
      const document = await store.read('list').catch(() => null);
      if (document !== null) seen.push(Buffer.from(document).toString());
    });
    expect(await store.swap('list', null, bytes('one'))).toBe(true);
    expect(await elsewhere.swap('list', null, bytes('two'))).toBe(true);
    address.leadTo(second.port, 'stay');
    await vi.waitFor(() => expect(seen.at(-1)).toBe('two'), SOON);
    expect(await elsewhere.swap('list', bytes('two'), bytes('three'))).toBe(true);
    await vi.waitFor(() => expect(seen.at(-1)).toBe('three'), SOON);
    expect(await store.swap('list', bytes('three'), bytes('four'))).toBe(true);
    expect(Buffer.from((await elsewhere.read('list')) as Uint8Array).toString()).toBe('four');
    await address.close();
    for (const each of [store, elsewhere]) each.close();
    await Promise.all([first.stop(), second.stop()]);
  });

  it('says that it cannot be read if Redis is gone, and continues when it is back', async () => {
    const own = await startRedis();
    const store = new RedisDocumentStore({ kind: 'url', url: own.url, redis: {} }, '');
    expect(await store.swap('list', null, bytes('one'))).toBe(true);
    await own.stop();
    const failure = {
      code: 'allow_list_unavailable',
      message: expect.stringContaining('The store of the allow list'),
    };
    await expect(store.read('list')).rejects.toMatchObject(failure);
    await expect(store.swap('list', null, bytes('one'))).rejects.toMatchObject(failure);
    await own.restart();
    expect(await store.swap('list', null, bytes('two'))).toBe(true);
    store.close();
    await own.stop();
  });

  it.each([
    ['still answers', 'yes', 'READONLY'],
    ['has lost its new master', 'no', 'MASTERDOWN'],
  ])(
    'finds the new master behind its address, if the old one became a replica that %s',
    async (_, stale, reply) => {
      const [first, second] = await Promise.all([startRedis(), startRedis()]);
      const [old, promoted] = [new Redis(first.url), new Redis(second.url)];
      const proxy = await startSlowProxy(first.port);
      const url = `redis://127.0.0.1:${proxy.port}`;
      const store = new RedisDocumentStore({ kind: 'url', url, redis: {} }, 'amesh:');
      opened.push(store);
      let told = 0;
      store.watch('list', () => {
        told++;
      });
      expect(await store.swap('list', null, bytes('one'))).toBe(true);
      await promoted.set('elsewhere', '1');
      await promoted.hset('amesh:list', { document: 'one' });
      await old.config('SET', 'replica-serve-stale-data', stale);
      await old.replicaof('127.0.0.1', stale === 'yes' ? second.port : 1);
      const failure = { code: 'allow_list_unavailable', message: expect.stringContaining(reply) };
      await expect(store.swap('list', bytes('one'), bytes('two'))).rejects.toMatchObject(failure);
      const before = told;
      proxy.toPort = second.port; // the open connections stay
      const swapped = () => store.swap('list', bytes('one'), bytes('two'));
      await vi.waitFor(async () => expect(await swapped()).toBe(true), { timeout: SOON, interval: 100 });
      expect(await promoted.hget('amesh:list', 'document')).toBe('two');
      await vi.waitFor(() => expect(told).toBeGreaterThan(before), SOON);
      store.close();
      for (const client of [old, promoted]) client.disconnect();
      await proxy.close();
      await Promise.all([first.stop(), second.stop()]);
    },
  );

  it('cuts its connection to a replica only now and then, since others read through it', async () => {
    const [master, replica] = await Promise.all([startRedis(), startRedis()]);
    const admin = new Redis(replica.url);
    await admin.replicaof('127.0.0.1', master.port);
    const store = new RedisDocumentStore({ kind: 'url', url: replica.url, redis: {} }, 'amesh:');
    opened.push(store);
    await store.read('list');
    const before = Number(/total_connections_received:(\d+)/.exec(await admin.info('stats'))?.[1]);
    const all = Array.from({ length: 50 }, () => store.confirm('list', 'i', 1));
    for (const { status } of await Promise.allSettled(all)) expect(status).toBe('rejected');
    for (let i = 0; i < 50; i++) {
      await expect(store.confirm('list', 'i', 1)).rejects.toThrow('READONLY You can');
      expect(await store.read('list')).toBe(null);
    }
    const after = Number(/total_connections_received:(\d+)/.exec(await admin.info('stats'))?.[1]);
    expect(after - before).toBeLessThan(20);
    store.close();
    admin.disconnect();
    await Promise.all([master.stop(), replica.stop()]);
  });

  it('says that it does not know whether a change was made if Redis falls silent', async () => {
    const own = await startRedis();
    const store = new RedisDocumentStore({ kind: 'url', url: own.url, redis: {} }, '');
    await store.swap('list', null, bytes('one'));
    own.pause();
    await expect(store.swap('list', bytes('one'), bytes('two'))).rejects.toMatchObject({
      code: 'store_unsynced',
      message: expect.stringContaining('Redis did not confirm it.'),
    });
    own.resume();
    store.close();
    await own.stop();
  });
});

describe('files', () => {
  let base: string;
  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    return () => rm(base, { recursive: true, maxRetries: 20 });
  });
  const open = () => toDocumentStore(createStorage({ driver: fsDriver({ base }) }));

  documentStoreContract('the fs driver of unstorage', async () => ({ store: open(), reopen: open }));

  it('are where unstorage would put them', async () => {
    await open().swap('am_x:list.json', null, bytes('one'));
    expect(await readFile(join(base, 'am_x/list.json'), 'utf8')).toBe('one');
  });
});

describe('any other storage', () => {
  const make = () => createStorage({ driver: memoryDriver() });
  documentStoreContract('the memory driver of unstorage', async () => {
    const storage = make();
    return { store: toDocumentStore(storage), reopen: () => toDocumentStore(storage) };
  });
  documentStoreContract('a storage with a prefix', async () => {
    const storage = prefixStorage(make(), 'mine');
    return { store: toDocumentStore(storage), reopen: () => toDocumentStore(storage) };
  });

  it('keeps the keys of two prefixes apart, whatever the driver', async () => {
    const base = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    onTestFinished(() => rm(base, { recursive: true, maxRetries: 20 }));
    const whole = createStorage({ driver: fsDriver({ base }) });
    const [mine, yours] = ['mine', 'yours'].map((prefix) => prefixStorage(whole, prefix));
    await toDocumentStore(mine as never).swap('list:am_x', null, bytes('one'));
    expect(await mine?.getItem('list:am_x')).toBe('one');
    expect(await toDocumentStore(yours as never).read('list:am_x')).toBeNull();
    await yours?.setItem('list:am_x', 'two');
    expect(await toDocumentStore(yours as never).read('list:am_x')).toEqual(bytes('two'));
  });

  it('reads lists where the storage has mounted them', async () => {
    const base = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    onTestFinished(() => rm(base, { recursive: true, maxRetries: 20 }));
    const storage = createStorage({ driver: fsDriver({ base }) });
    storage.mount('list', memoryDriver());
    await storage.setItem('list:am_x', 'one');
    expect(await toDocumentStore(storage).read('list:am_x')).toEqual(bytes('one'));
  });

  it.each([
    ['behind a prefix', (storage: Storage) => prefixStorage(storage, 'mine')],
    ['without one', (storage: Storage) => storage],
  ])('may return old bytes if its driver may, %s', (_, wrap) => {
    const driver = { ...memoryDriver(), name: 'cloudflare-kv-binding' };
    expect(toDocumentStore(wrap(createStorage({ driver }))).isEventual).toBe(true);
    expect(toDocumentStore(wrap(make())).isEventual).toBe(false);
  });

  it('reads what another program has put there as text', async () => {
    const storage = make();
    await storage.setItem('am_x:list.json', '{"a":1}\n');
    expect(await toDocumentStore(storage).read('am_x:list.json')).toEqual(bytes('{"a":1}\n'));
  });

  it('warns once that two processes can lose a change', async () => {
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const driver = { ...memoryDriver(), name: 'somewhere' };
    toDocumentStore(createStorage({ driver }));
    toDocumentStore(createStorage({ driver }));
    expect(callsOf(warned)).toEqual([
      [
        expect.stringContaining(
          'If two administrators change the allow list in somewhere at the same moment',
        ),
      ],
    ]);
    warned.mockRestore();
  });

  it('gets requests for at most four pages at once: each may have any size', async () => {
    const inner = memoryDriver();
    const names = Array.from({ length: 16 }, (_, i) => String(i).padStart(43, 'A'));
    let [asked, most] = [0, 0];
    const getItemRaw = async (key: string) => {
      most = Math.max(most, ++asked);
      await sleep(1);
      asked--;
      return key.endsWith('7') ? new Uint8Array(100) : inner.getItem(key);
    };
    const store = toDocumentStore(createStorage({ driver: { ...inner, getItemRaw } as never }));
    const write = new Map(names.map((name) => [name, bytes(name)]));
    await store.swap('list', null, bytes('{}'), { write, remove: [] });
    const expected = names.map((name) => (name.endsWith('7') ? null : bytes(name)));
    expect(await store.readPages('list', names, 50)).toEqual(expected);
    expect(most).toBe(4);
  });

  it('that fails is unavailable', async () => {
    const driver = { ...memoryDriver(), getItemRaw: () => Promise.reject(new Error('no')) };
    await expect(toDocumentStore(createStorage({ driver })).read('x')).rejects.toMatchObject({
      code: 'allow_list_unavailable',
    });
  });

  it.each([null, undefined, {}, { getItemRaw() {} }])('cannot be %j', (storage) => {
    expect(() => toDocumentStore(storage as never)).toThrow(
      new TypeError('storage must be a storage of unstorage: createStorage({ driver }).'),
    );
  });
});
