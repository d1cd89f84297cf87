import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, type DocumentStore, openDevice } from '@authmesh/sdk/admin';
import { createAllowList } from '@authmesh/sdk/core';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { AmeshError } from '../../src/core/errors/amesh-error';
import { SERVER_CODES } from '../../src/core/errors/codes';
import { FileStore } from '../../src/storage/files/file-store';
import { LAST_SEEN_KEY, LastSeenRecord } from '../../src/trust/list/last-seen';
import type { TrustStore } from '../../src/trust/list/trust-store';
import { Sightings } from '../../src/trust/sightings';
import { SOON } from '../support/waiting';

const [ALICE, BOB, CAROL] = ['am_AAAAAAAAAAAAAAAA', 'am_BBBBBBBBBBBBBBBB', 'am_CCCCCCCCCCCCCCCC'] as const;
const all = () => true;

let dir: string;
let store: FileStore;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  store = new FileStore(dir);
  return () => rm(dir, { recursive: true, maxRetries: 20 });
});
const open = () => new LastSeenRecord(store, LAST_SEEN_KEY);
const times = (init: Record<string, number>) => new Map(Object.entries(init));

describe('the record of when devices were last seen', () => {
  it('is empty where there is none', async () => {
    expect(await open().read()).toEqual(new Map());
  });

  it('keeps the later of two times, and those of others', async () => {
    await open().add(times({ [ALICE]: 200, [BOB]: 100 }), all);
    expect(await open().add(times({ [ALICE]: 150, [CAROL]: 300 }), all)).toBe(3);
    expect(await open().read()).toEqual(times({ [ALICE]: 200, [BOB]: 100, [CAROL]: 300 }));
  });

  it('leaves out devices that are no longer in the list', async () => {
    await open().add(times({ [ALICE]: 200, [BOB]: 100 }), all);
    await open().add(times({ [ALICE]: 300, [CAROL]: 300 }), (id) => id === ALICE);
    expect(await readFile(join(dir, LAST_SEEN_KEY), 'utf8')).toBe(`${ALICE} 300\n`);
  });

  it('loses nothing where several write at once', async () => {
    const ids = Array.from({ length: 8 }, (_, i) => `am_${String(i).repeat(16)}`);
    await Promise.all(ids.map((id, i) => open().add(times({ [id]: i }), all)));
    expect([...(await open().read()).keys()].sort()).toEqual(ids);
  });

  it.each([
    ['no time', `${ALICE} soon`],
    ['a time beyond all calendars', `${ALICE} 999999999999`],
    ['a time before all of them', `${ALICE} -1`],
    ['no device', '\u001b[31mroot 1764000000'],
    ['no text', '\0\xff'],
  ])('passes over what is %s', async (_, line) => {
    await writeFile(join(dir, LAST_SEEN_KEY), `${line}\n${BOB} 100\n`);
    expect(await open().read()).toEqual(times({ [BOB]: 100 }));
    await open().add(times({ [CAROL]: 1 }), all);
    expect(await readFile(join(dir, LAST_SEEN_KEY), 'utf8')).toBe(`${BOB} 100\n${CAROL} 1\n`);
  });

  it.each([
    ['17 MB', 17_000_000],
    ['3 GB, which nobody can read at once', 3_000_000_000],
  ])('is written anew where the file is no record of ours, but %s', async (_, size) => {
    await writeFile(join(dir, LAST_SEEN_KEY), `${ALICE} 100\n`);
    await truncate(join(dir, LAST_SEEN_KEY), size); // with a hole, which takes no room
    expect(await open().read()).toEqual(new Map());
    expect(await open().add(times({ [BOB]: 1 }), all)).toBe(1);
    expect(await readFile(join(dir, LAST_SEEN_KEY), 'utf8')).toBe(`${BOB} 1\n`);
  });

  it('is written anew in a store that has given all of it', async () => {
    let content: Uint8Array = new Uint8Array(17_000_000);
    const whole: DocumentStore = {
      read: async () => content,
      swap: async (_key, expected, next) => {
        if (expected !== content) return false;
        content = next;
        return true;
      },
    };
    expect(await new LastSeenRecord(whole, LAST_SEEN_KEY).add(times({ [BOB]: 1 }), all)).toBe(1);
    expect(new TextDecoder().decode(content)).toBe(`${BOB} 1\n`);
  });

  it('is empty where the store cannot be read', async () => {
    const record = new LastSeenRecord(
      {
        read: () => Promise.reject(new AmeshError(SERVER_CODES.allow_list_unavailable)),
        swap: async () => false,
      },
      LAST_SEEN_KEY,
    );
    expect(await record.read()).toEqual(new Map());
  });

  it('is not written where the store shows what was there before', async () => {
    const swap = vi.fn();
    const record = new LastSeenRecord({ read: async () => null, swap, isEventual: true }, LAST_SEEN_KEY);
    await record.add(times({ [ALICE]: 1 }), all);
    expect(swap).not.toHaveBeenCalled();
  });

  it('says nothing about the list: one that is damaged keeps nobody out, and stays as it is when the list changes', async () => {
    await createIdentity(dir, {}, { friendlyName: 'api' });
    await writeFile(join(dir, LAST_SEEN_KEY), 'rubbish');
    const { trust } = await openDevice(dir, {});
    await trust.update((list) => ({ ...list, hosts: ['a.example'] }));
    expect((await trust.read()).hosts).toEqual(['a.example']);
    expect(await trust.lastSeen.read()).toEqual(new Map());
    expect(await readFile(join(dir, LAST_SEEN_KEY), 'utf8')).toBe('rubbish');
  });
});

describe('sightings', () => {
  const KEY = Buffer.from('0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798', 'hex');
  const device = (deviceId: string) => ({
    deviceId,
    publicKey: KEY.toString('base64url'),
    friendlyName: deviceId,
    roles: ['controller'] as const,
  });
  const list = { current: () => createAllowList({ devices: [device(ALICE), device(BOB)] }) };
  const trust = async () => ({ lastSeen: open() }) as TrustStore;

  it('are written in the background, once for many, and at most once in a while', async () => {
    const writtenAt: number[] = [];
    const swap = store.swap.bind(store);
    vi.spyOn(store, 'swap').mockImplementation((...args) => {
      writtenAt.push(performance.now());
      return swap(...args);
    });
    const sightings = new Sightings({ trust, list, restMs: 400 });
    for (let i = 0; i < 1000; i++) sightings.note(ALICE);
    sightings.note(CAROL); // revoked meanwhile
    expect(writtenAt).toHaveLength(0);
    await vi.waitFor(async () => expect([...(await open().read()).keys()]).toEqual([ALICE]), SOON);
    sightings.note(BOB);
    await vi.waitFor(async () => expect([...(await open().read()).keys()]).toEqual([ALICE, BOB]), SOON);
    expect(writtenAt).toHaveLength(2);
    const [first = 0, second = 0] = writtenAt;
    expect(second - first).toBeGreaterThan(398); // timers round
  });

  it('are kept where they cannot be written, until they can', async () => {
    const swap = vi
      .spyOn(store, 'swap')
      .mockRejectedValueOnce(new AmeshError(SERVER_CODES.allow_list_unavailable));
    const sightings = new Sightings({ trust, list, restMs: 50 });
    sightings.note(ALICE);
    await vi.waitFor(async () => expect([...(await open().read()).keys()]).toEqual([ALICE]), SOON);
    expect(swap).toHaveBeenCalledTimes(2);
  });
});
