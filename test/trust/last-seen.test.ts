import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, type DocumentStore, openDevice, setHosts } from '@authmesh/sdk/admin';
import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { AmeshError } from '../../src/core/errors/amesh-error';
import { SERVER_CODES } from '../../src/core/errors/codes';
import { FileStore } from '../../src/storage/files/file-store';
import { ListDraft } from '../../src/trust/format/draft';
import { loadPages } from '../../src/trust/format/load-pages';
import { PagedList } from '../../src/trust/format/paged-list';
import { lastSeenKey } from '../../src/trust/list/keys';
import { LastSeenRecord } from '../../src/trust/list/last-seen';
import type { ListStore } from '../../src/trust/list/list-store';
import { Sightings } from '../../src/trust/sightings';
import { emptyHead, newDevice, randomId } from '../support/list-document';
import { SOON } from '../support/waiting';

const [ALICE, BOB, CAROL] = ['am_AAAAAAAAAAAAAAAA', 'am_BBBBBBBBBBBBBBBB', 'am_CCCCCCCCCCCCCCCC'] as const;
const LAST_SEEN_KEY = 'last_seen.txt';

/** A list of controllers with invented keys. */
async function listOf(...ids: readonly string[]): Promise<PagedList> {
  const draft = new ListDraft(emptyHead(), () => Promise.reject(new Error('It has no page.')), 0);
  for (const id of ids) await draft.put(newDevice(id));
  const { head, write } = await draft.finish();
  const read = async (hashes: readonly string[]) => hashes.map((hash) => write.get(hash) ?? null);
  return new PagedList(head, '', await loadPages(head, [], read));
}

let all: PagedList;
beforeAll(async () => {
  all = await listOf(ALICE, BOB, CAROL);
});

const keyOf = (prefix: string) => lastSeenKey('allow_list.json', prefix);

let dir: string;
let store: FileStore;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  store = new FileStore(dir);
  return () => rm(dir, { recursive: true, maxRetries: 20 });
});
const open = () => new LastSeenRecord(store, keyOf);
const times = (init: Record<string, number>) => new Map(Object.entries(init));

/** The first line says since when the record has been kept. */
const SINCE = /^since \d+\n/;

const timesIn = async (dir: string) => (await readFile(join(dir, LAST_SEEN_KEY), 'utf8')).replace(SINCE, '');

describe('the record of when devices were last seen', () => {
  it('is empty if there is none', async () => {
    expect(await open().read(all)).toEqual(new Map());
  });

  it('keeps the later of two times, and the times of others', async () => {
    await open().add(times({ [ALICE]: 200, [BOB]: 100 }), all);
    expect(await open().add(times({ [ALICE]: 150, [CAROL]: 300 }), all)).toBe(3);
    expect(await open().read(all)).toEqual(times({ [ALICE]: 200, [BOB]: 100, [CAROL]: 300 }));
  });

  it('leaves out devices that are no longer in the list', async () => {
    await open().add(times({ [ALICE]: 200, [BOB]: 100 }), all);
    await open().add(times({ [ALICE]: 300, [CAROL]: 300 }), await listOf(ALICE));
    expect(await timesIn(dir)).toBe(`${ALICE} 300\n`);
  });

  it('loses nothing if several instances write at once', async () => {
    const ids = Array.from({ length: 8 }, (_, i) => `am_${String(i).repeat(16)}`);
    const list = await listOf(...ids);
    await Promise.all(ids.map((id, i) => open().add(times({ [id]: i }), list)));
    expect([...(await open().read(list)).keys()].sort()).toEqual(ids);
  });

  it.each([
    ['no time', `${ALICE} soon`],
    ['a time beyond all calendars', `${ALICE} 999999999999`],
    ['a time before all of them', `${ALICE} -1`],
    ['no device', '\u001b[31mroot 1764000000'],
    ['no text', '\0\xff'],
  ])('ignores what is %s', async (_, line) => {
    await writeFile(join(dir, LAST_SEEN_KEY), `${line}\n${BOB} 100\n`);
    expect(await open().read(all)).toEqual(times({ [BOB]: 100 }));
    await open().add(times({ [CAROL]: 1 }), all);
    expect(await timesIn(dir)).toBe(`${BOB} 100\n${CAROL} 1\n`);
  });

  it.each([
    ['17 MB', 17_000_000],
    ['3 GB, which nobody can read at once', 3_000_000_000],
  ])('is written again if the file is not our record, but %s', async (_, size) => {
    await writeFile(join(dir, LAST_SEEN_KEY), `${ALICE} 100\n`);
    await truncate(join(dir, LAST_SEEN_KEY), size); // with a hole, which takes no room
    expect(await open().read(all)).toEqual(new Map());
    expect(await open().add(times({ [BOB]: 1 }), all)).toBe(1);
    expect(await timesIn(dir)).toBe(`${BOB} 1\n`);
  });

  it('is replaced if it is too large, even in a store that returned all of it', async () => {
    let content: Uint8Array = new Uint8Array(17_000_000);
    const whole: DocumentStore = {
      read: async () => content,
      readPages: async () => [],
      swap: async (_key, expected, next) => {
        if (expected !== content) return false;
        content = next;
        return true;
      },
    };
    expect(await new LastSeenRecord(whole, keyOf).add(times({ [BOB]: 1 }), all)).toBe(1);
    expect(new TextDecoder().decode(content).replace(SINCE, '')).toBe(`${BOB} 1\n`);
  });

  it('is empty if the store cannot be read', async () => {
    const record = new LastSeenRecord(
      {
        read: () => Promise.reject(new AmeshError(SERVER_CODES.allow_list_unavailable)),
        readPages: async () => [],
        swap: async () => false,
      },
      keyOf,
    );
    expect(await record.read(all)).toEqual(new Map());
  });

  it('is not written to a store that may return older bytes', async () => {
    const swap = vi.fn();
    const eventual = { read: async () => null, readPages: async () => [], swap, isEventual: true };
    const record = new LastSeenRecord(eventual, keyOf);
    await record.add(times({ [ALICE]: 1 }), all);
    expect(swap).not.toHaveBeenCalled();
  });

  it('has a part for each page, and continues with the part of a page that was split', async () => {
    const ids = Array.from({ length: 600 }, randomId);
    const [first = '', second = ''] = ids;
    const small = await listOf(...ids.slice(0, 100));
    await open().add(times({ [first]: 100, [second]: 200 }), small);
    expect(await readdir(dir)).toEqual([LAST_SEEN_KEY]);

    const large = await listOf(...ids);
    expect(large.head.pages.length).toBeGreaterThan(1);
    expect(await open().read(large)).toEqual(times({ [first]: 100, [second]: 200 }));
    const reads = vi.spyOn(store, 'read');
    await open().read(await listOf(...Array.from({ length: 5000 }, randomId)));
    const asked = reads.mock.calls.map(([key]) => key);
    expect(new Set(asked).size).toBe(asked.length); // each key once
    reads.mockRestore();
    await open().add(times({ [second]: 300 }), large);
    expect(await readdir(dir)).toHaveLength(2);
    expect(await open().read(large)).toEqual(times({ [first]: 100, [second]: 300 }));
  });

  it('keeps nobody out if it is damaged, and stays unchanged when the list changes', async () => {
    await createIdentity(dir, {}, { friendlyName: 'api' });
    await writeFile(join(dir, LAST_SEEN_KEY), 'rubbish');
    const { trust } = await openDevice(dir, {});
    await trust.update((list) => setHosts(list, ['a.example']));
    expect((await trust.read()).hosts).toEqual(['a.example']);
    expect(await trust.lastSeen.read(await trust.read())).toEqual(new Map());
    expect(await timesIn(dir)).toBe('rubbish');
  });
});

describe('sightings', () => {
  const list = { current: () => listOf(ALICE, BOB) };
  const trust = async () => ({ lastSeen: open() }) as ListStore;

  it('are written in the background, many at once, and with a pause after each write', async () => {
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
    await vi.waitFor(async () => expect([...(await open().read(all)).keys()]).toEqual([ALICE]), SOON);
    sightings.note(BOB);
    await vi.waitFor(async () => expect([...(await open().read(all)).keys()]).toEqual([ALICE, BOB]), SOON);
    expect(writtenAt).toHaveLength(2);
    const [first = 0, second = 0] = writtenAt;
    expect(second - first).toBeGreaterThan(398); // timers round
  });

  it('are kept while they cannot be written', async () => {
    const swap = vi
      .spyOn(store, 'swap')
      .mockRejectedValueOnce(new AmeshError(SERVER_CODES.allow_list_unavailable));
    const sightings = new Sightings({ trust, list, restMs: 50 });
    sightings.note(ALICE);
    await vi.waitFor(async () => expect([...(await open().read(all)).keys()]).toEqual([ALICE]), SOON);
    expect(swap).toHaveBeenCalledTimes(2);
  });
});
