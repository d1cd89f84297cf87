import { beforeAll, describe, expect, it } from 'vitest';
import { cryptoProvider } from '#crypto';
import type { Signer } from '../../../src/core/crypto/provider';
import { deviceIdOf } from '../../../src/core/devices/allow-list';
import { toBase64Url } from '../../../src/core/encoding';
import { ListDraft } from '../../../src/trust/format/draft';
import { cutPages, joinList } from '../../../src/trust/format/export';
import { sealHead } from '../../../src/trust/format/head';
import type { PagedList } from '../../../src/trust/format/paged-list';
import { ListReader } from '../../../src/trust/list/list-reader';
import { SeenInMemory } from '../../../src/trust/list/seen-in-memory';
import { emptyHead, newDevice, randomId } from '../../support/list-document';

const NOBODY = { fix: '' };

let signer: Signer;
let list: string;
beforeAll(async () => {
  signer = await cryptoProvider.importPrivateKey(await cryptoProvider.generatePrivateKey());
  list = await deviceIdOf(signer.publicKey, cryptoProvider);
});

/** A list as one text, and the length of its head in bytes. */
async function exportOf(ids: readonly string[]): Promise<{ text: Uint8Array; headLength: number }> {
  const head = emptyHead({ list, owner: toBase64Url(signer.publicKey) });
  const draft = new ListDraft(head, () => Promise.reject(new Error('It has no page.')), 0);
  for (const id of ids) await draft.put(newDevice(id));
  const revision = await draft.finish();
  const bytes = await sealHead(revision.head, signer);
  const hashes = revision.head.pages.flatMap(({ content }) => (typeof content === 'string' ? [content] : []));
  const pages = hashes.map((hash) => revision.write.get(hash) as Uint8Array);
  return { text: joinList(bytes, pages), headLength: bytes.length };
}

function read(text: Uint8Array): Promise<PagedList> {
  const owners = [signer.publicKey];
  const advice = { absent: { detail: '', ...NOBODY }, older: NOBODY, other: NOBODY };
  const source = { read: async () => text };
  return new ListReader(source, { owners, list }, new SeenInMemory(owners), advice).read();
}

function find(from: PagedList, id: string): string {
  try {
    return from.find(id)?.deviceId === id ? 'device' : 'none';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

const manyIds = (count: number) => Array.from({ length: count }, randomId);

describe('a list as one text', () => {
  it.each([0, 1, 128, 129, 2000])('with %d devices has all of them', async (count) => {
    const ids = manyIds(count);
    const found = await read((await exportOf(ids)).text);
    expect(found.isWhole).toBe(true);
    expect([...found.devices()].map(({ deviceId }) => deviceId).sort()).toEqual([...ids].sort());
  });

  it.each([
    ['a byte after a small list', 5, 'x'],
    ['a line feed after a small list', 5, '\n'],
    ['another head after a small list', 5, '{"revision":2}\n'],
  ])('is refused with %s', async (_, count, more) => {
    const { text } = await exportOf(manyIds(count));
    await expect(read(Buffer.concat([text, Buffer.from(more)]))).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
    });
  });

  it('is refused if a byte of its head was changed', async () => {
    const { text, headLength } = await exportOf(manyIds(300));
    for (const at of [0, 20, headLength - 100, headLength - 2, headLength - 1]) {
      const changed = Uint8Array.from(text);
      changed[at] = (changed[at] as number) ^ 1;
      await expect(read(changed), `byte ${at}`).rejects.toMatchObject({
        code: 'allow_list_integrity_failure',
      });
    }
  });

  it.each([
    ['a changed byte', (line: string) => line.replace('"name":"am', '"name":"an')],
    ['another ID', (line: string) => line.replace(/"id":"am_..../, '"id":"am_----')],
    ['a missing line', () => ''],
    ['a line that is not an entry', () => 'x\n'],
    ['a duplicate line', (line: string) => line + line],
  ])('with %s loses at most two pages, and keeps all others', async (_, change) => {
    const ids = manyIds(4000);
    const { text, headLength } = await exportOf(ids);
    const lines = Buffer.from(text.subarray(headLength)).toString().split('\n').slice(0, -1);
    const at = Math.floor(lines.length / 2);
    lines[at] = change(`${lines[at]}\n`).slice(0, -1);
    const rest = lines.map((line, i) => (i === at && line === '' ? '' : `${line}\n`)).join('');
    const found = await read(Buffer.concat([text.subarray(0, headLength), Buffer.from(rest)]));
    const results = ids.map((id) => find(found, id));
    const lost = results.filter((result) => result === 'allow_list_unavailable').length;
    expect(results.filter((result) => result === 'device').length + lost).toBe(ids.length);
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThanOrEqual(1024);
  });

  it('that is cut off has its complete pages', async () => {
    const ids = manyIds(4000);
    const { text } = await exportOf(ids);
    const found = await read(text.subarray(0, Math.floor(text.length / 2)));
    const results = new Set(ids.map((id) => find(found, id)));
    expect([...results].sort()).toEqual(['allow_list_unavailable', 'device']);
  });
});

describe('cutPages', () => {
  const line = (id: string) => Buffer.from(`{"id":"am_${id.padEnd(16, 'A')}"}\n`);
  const cut = (...lines: Buffer[]) =>
    cutPages(Buffer.concat(lines), ['00', '01', '1']).map((page) => Buffer.from(page));

  it('gives no lines to a page without entries', () => {
    expect(cut()).toEqual([Buffer.alloc(0), Buffer.alloc(0), Buffer.alloc(0)]);
    expect(cut(line('A'), line('g'))).toEqual([line('A'), Buffer.alloc(0), line('g')]);
    expect(cut(line('g'))).toEqual([Buffer.alloc(0), Buffer.alloc(0), line('g')]);
  });

  it('leaves a line that belongs to no page, or comes too late, where it is', () => {
    const late = Buffer.concat([line('g'), line('h'), line('A')]);
    expect(cut(line('A'), Buffer.from('x\n'), line('Q'), line('g'), line('h'), line('A'))).toEqual([
      Buffer.concat([line('A'), Buffer.from('x\n')]),
      line('Q'),
      late,
    ]);
  });
});
