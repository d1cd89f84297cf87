import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { cryptoProvider } from '#crypto';
import type { Signer } from '../../src/core/crypto/provider';
import { deviceIdOf } from '../../src/core/devices/allow-list';
import { fromBase64Url, toBase64Url } from '../../src/core/encoding';
import { FileStore } from '../../src/storage/files/file-store';
import { RedisDocumentStore } from '../../src/storage/redis/documents/document-store';
import { type ListHead, sealHead } from '../../src/trust/format/head';
import { ListStore } from '../../src/trust/list/list-store';
import { MAX_JUMP } from '../../src/trust/list/newest';
import { SealedList } from '../../src/trust/list/sealed-list';
import { NOWHERE } from '../../src/trust/list/seen';
import { times } from '../support/full';
import { emptyHead } from '../support/list-document';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';

const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const MANY_MB = times(20, 100);

let owner: Signer;
let stranger: Signer;
let list: string;
/** The head that was seen first, at revision 5. */
let right: Uint8Array;
const attacks: Record<string, () => Promise<Uint8Array>> = {
  'of another owner': () => seal({ revision: 6, owner: toBase64Url(stranger.publicKey) }, stranger),
  'that names the owner, sealed by a stranger': () => seal({ revision: 6 }, stranger),
  'that names another owner, sealed by the owner': () =>
    seal({ revision: 6, owner: toBase64Url(stranger.publicKey) }),
  'of another list': async () =>
    seal({ revision: 6, list: await deviceIdOf(stranger.publicKey, cryptoProvider) }),
  'with (r, n−s) in its seal': async () => withHighS(await seal({ revision: 6 })),
  'that is cut off': async () => (await seal({ revision: 6 })).slice(0, -1),
  'with something after it': async () => Buffer.concat([await seal({ revision: 6 }), Buffer.from('{}\n')]),
  [`of ${MANY_MB} MB of garbage`]: async () => new Uint8Array(MANY_MB * 1024 * 1024).fill(0x7b),
  'of nothing': async () => new Uint8Array(),
};
const later: typeof attacks = {
  'that is older': () => seal({ revision: 4 }),
  'that is a second one of the same revision': () => seal({ updatedAt: 1 }),
  'more than 2^20 ahead': () => seal({ revision: 5 + MAX_JUMP + 1 }),
};

beforeAll(async () => {
  const newSigner = async () => cryptoProvider.importPrivateKey(await cryptoProvider.generatePrivateKey());
  [owner, stranger] = [await newSigner(), await newSigner()];
  list = await deviceIdOf(owner.publicKey, cryptoProvider);
  right = await seal({});
});

function seal(more: Partial<ListHead>, signer = owner): Promise<Uint8Array> {
  return sealHead(
    { ...emptyHead({ list, owner: toBase64Url(owner.publicKey) }), revision: 5, ...more },
    signer,
  );
}

function withHighS(head: Uint8Array): Uint8Array {
  const text = new TextDecoder().decode(head);
  const seal = Buffer.from(fromBase64Url(text.slice(-89, -3)) as Uint8Array);
  const s = N - BigInt(`0x${seal.subarray(32).toString('hex')}`);
  seal.write(s.toString(16).padStart(64, '0'), 32, 'hex');
  return new TextEncoder().encode(`${text.slice(0, -89)}${seal.toString('base64url')}"}\n`);
}

/** Where a list lies, and what reads it there. */
interface Place {
  put(bytes: Uint8Array): Promise<unknown>;
  /** The revision that counts. */
  read(): Promise<number>;
}

/** Every head is refused, none that is not sealed is parsed, and the right one counts again. */
function refuses(open: () => Promise<Place>, heads: typeof attacks): void {
  it.each(Object.keys(heads))('%s', async (name) => {
    const place = await open();
    await place.put(right);
    expect(await place.read()).toBe(5);
    const head = await heads[name]?.();
    await place.put(head as Uint8Array);
    const parse = vi.spyOn(JSON, 'parse');
    try {
      await expect(place.read()).rejects.toMatchObject({ code: expect.stringMatching(/^allow_list_/) });
      const longest = Math.max(0, ...parse.mock.calls.map(([text]) => String(text).length));
      if (name in attacks && !/sealed by the owner|another list|after it/.test(name))
        expect(parse.mock.calls.filter(([text]) => String(text).includes('"revision":6'))).toEqual([]);
      expect(longest).toBeLessThan(10_000);
    } finally {
      parse.mockRestore();
    }
    await place.put(right);
    expect(await place.read()).toBe(5);
  });

  it('with a changed byte, wherever it is', async () => {
    const place = await open();
    for (let i = 0; i < right.length; i += 23) {
      const changed = Uint8Array.from(right);
      changed[i] = (changed[i] as number) ^ 1;
      await place.put(changed);
      await expect(place.read(), `byte ${i}`).rejects.toMatchObject({ code: 'allow_list_integrity_failure' });
    }
  });
}

/** A list that is copied to a reader: `now` goes on, so that each read reads. */
function copied(): Place {
  let bytes: Uint8Array | null = null;
  let nowMs = 0;
  const sealed = new SealedList({
    read: async () => bytes,
    readPages: async (names) => names.map(() => null),
    owners: [owner.publicKey],
    maxStaleSeconds: 60,
    now: () => nowMs,
  });
  return {
    put: async (next) => {
      bytes = next;
    },
    read: async () => {
      nowMs += 120_000; // beyond which the last list does not count
      return ((await sealed.current()) as unknown as { head: ListHead }).head.revision;
    },
  };
}

describe('a file refuses a head', () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'amesh-heads-'));
  });
  afterAll(() => rm(root, { recursive: true }));
  const open = async () => {
    const store = new FileStore(await mkdtemp(join(root, 'place-')));
    const trust = new ListStore(store, { owners: [owner.publicKey] }, list, {
      seen: new FileStore(await mkdtemp(join(root, 'seen-'))),
    });
    const put = async (bytes: Uint8Array) =>
      store.swap('allow_list.json', await store.read('allow_list.json'), bytes);
    return { put, read: async () => (await trust.read()).head.revision };
  };
  refuses(open, { ...attacks, ...later });
});

describeWithRedis('Redis refuses a head', () => {
  let redis: RedisServer;
  let admin: Redis;
  let store: RedisDocumentStore;
  beforeAll(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
    store = new RedisDocumentStore({ kind: 'url', url: redis.url, redis: {} }, 'amesh:');
  });
  afterAll(async () => {
    store?.close();
    admin?.disconnect();
    await redis?.stop();
  });
  let places = 0;
  const open = async () => {
    const key = `list:${places++}`;
    const trust = new ListStore(store, { owners: [owner.publicKey] }, list, {
      key,
      seen: NOWHERE,
    });
    // As an attacker writes it: the store would have to read 100 MB first, and gives up after 2 s.
    const put = (bytes: Uint8Array) => admin.hset(`amesh:${key}`, 'document', Buffer.from(bytes));
    return { put, read: async () => (await trust.read()).head.revision };
  };
  refuses(open, { ...attacks, ...later });
});

describe('a copy, as in KV, refuses a head', () => {
  refuses(async () => copied(), { ...attacks, ...later });
});

describe('a text in a variable refuses a head', () => {
  it('with any byte changed', async () => {
    const { put, read } = copied();
    for (let i = 0; i < right.length; i++) {
      const changed = Uint8Array.from(right);
      changed[i] = (changed[i] as number) ^ (1 << (i % 7));
      await put(changed);
      await expect(read(), `byte ${i}`).rejects.toMatchObject({ code: 'allow_list_integrity_failure' });
    }
  });

  it('of a lower revision than minRevision', async () => {
    const options = { read: async () => right, owners: [owner.publicKey], maxStaleSeconds: 60 };
    await expect(new SealedList({ ...options, minRevision: 6 }).current()).rejects.toMatchObject({
      code: 'allow_list_unavailable',
    });
    expect(await new SealedList({ ...options, minRevision: 5 }).current()).toMatchObject({ deviceId: list });
  });
});
