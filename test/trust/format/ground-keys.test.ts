import { createHash, randomBytes } from 'node:crypto';
import { normalizeZ } from '@noble/curves/abstract/curve.js';
import { p256 } from '@noble/curves/nist.js';
import { expect, it } from 'vitest';
import { addDevice } from '../../../src/trust/changes';
import type { DeviceEntry } from '../../../src/trust/format/entry';
import { MAX_PAGES } from '../../../src/trust/format/head';
import { countLines } from '../../../src/trust/format/page';
import { bitsOf } from '../../../src/trust/format/prefix';
import { times } from '../../support/full';
import { device, NOW, WrittenList } from '../../support/written-list';

/** Somebody who may add devices searches for keys whose IDs begin alike: that page splits, and nobody else pays. */

/** The devices that are there before; how many the attacker adds in one change, and how many one by one at the end. */
const OTHERS = 5000;
const BATCH = 500;
const SINGLE = 30;
const LINES_OF_A_PAGE = 512;

type Ground = Pick<DeviceEntry, 'deviceId' | 'publicKey'>;

/** IDs with these first bits, without keys: to find keys for 14 bits takes 2^14 tries for each. */
function invent(count: number, prefix: string): Ground[] {
  return Array.from({ length: count }, () => {
    const bytes = randomBytes(12);
    for (const [i, bit] of [...prefix].entries()) {
      const mask = 0x80 >> (i % 8);
      bytes[i >> 3] = ((bytes[i >> 3] as number) & ~mask) | (bit === '1' ? mask : 0);
    }
    const { publicKey } = device('');
    return { deviceId: `am_${bytes.toString('base64url')}`, publicKey };
  });
}

/** Keys of which the attacker knows the private part: each is the one before plus the generator. */
function grind(count: number, prefix: string): Ground[] {
  const { Point } = p256;
  const found: Ground[] = [];
  let point = Point.BASE.multiply(BigInt(`0x${randomBytes(16).toString('hex')}`));
  while (found.length < count) {
    const points = Array.from({ length: 1000 }, () => {
      point = point.add(Point.BASE);
      return point;
    });
    for (const { x, y } of normalizeZ(Point, points)) {
      const key = Buffer.from(`${y & 1n ? '03' : '02'}${x.toString(16).padStart(64, '0')}`, 'hex');
      const deviceId = `am_${createHash('sha256').update(key).digest('base64url').slice(0, 16)}`;
      if (bitsOf(deviceId).startsWith(prefix)) found.push({ deviceId, publicKey: key.toString('base64url') });
    }
  }
  return found.slice(0, count);
}

async function listOfOthers(): Promise<{ written: WrittenList; ids: readonly string[] }> {
  const written = await WrittenList.create();
  const ids = Array.from({ length: OTHERS }, () => `am_${randomBytes(12).toString('base64url')}`);
  await written.change(async (draft) => {
    for (const id of ids) await draft.put(device(id));
  });
  return { written, ids };
}

it.each([
  {
    what: `${times(2000, 10_000)} IDs with 14 bits`,
    ground: () => invent(times(2000, 10_000), '10110011100011'),
    prefix: '10110011100011',
  },
  {
    what: `${times(1000, 10_000)} real keys with 6 bits`,
    ground: () => grind(times(1000, 10_000), '101100'),
    prefix: '101100',
  },
])(
  '$what split their own page, and cost nobody else anything',
  async ({ ground, prefix }) => {
    const { written, ids } = await listOfOthers();
    const isOthers = (of: string) => !of.startsWith(prefix) && !prefix.startsWith(of);
    const othersPages = () =>
      written.head.pages.flatMap(({ prefix, content }) => (isOthers(prefix) ? [`${prefix} ${content}`] : []));
    // A page above the prefix is split, and its halves beside the prefix are pages of others from then on.
    const before = othersPages();
    const pagesBefore = written.head.pages.length;
    const other = ids.find((id) =>
      before.some((page) => bitsOf(id).startsWith(page.split(' ')[0] as string)),
    );
    const changeOther = async (addedAt: number) => {
      await written.change((draft) => draft.put(device(other as string, { addedAt })));
      return { reads: written.reads, writes: written.writes };
    };

    const keys = ground();
    for (let from = 0; from < keys.length - SINGLE; from += BATCH)
      await written.change(async (draft) => {
        for (const key of keys.slice(from, Math.min(from + BATCH, keys.length - SINGLE)))
          await add(draft, key);
      });
    for (const key of keys.slice(-SINGLE)) {
      await written.change((draft) => add(draft, key));
      expect(written.writes).toBeLessThanOrEqual(2);
      expect(written.reads).toBe(1);
    }

    // No page of others was written again, moved or deepened.
    expect(othersPages()).toEqual(expect.arrayContaining(before));
    // Their own pages are as small as any, and the tree is as deep as their number needs.
    const lines = written.list.pages.map(({ content }) =>
      'bytes' in content ? countLines(content.bytes) : 0,
    );
    expect(Math.max(...lines)).toBeLessThanOrEqual(LINES_OF_A_PAGE);
    const deepest = Math.max(...written.head.pages.map((page) => page.prefix.length));
    expect(deepest).toBeLessThanOrEqual(prefix.length + Math.ceil(Math.log2(keys.length / 256)) + 3);
    const added = written.head.pages.length - pagesBefore;
    expect(added).toBeLessThanOrEqual(prefix.length + keys.length / 128);
    expect(written.head.pages.length).toBeLessThan(MAX_PAGES / 10);
    // A change elsewhere is what it was: one page and the head.
    expect(await changeOther(1)).toEqual({ reads: 1, writes: 1 });
    for (const id of ids.slice(0, 100)) expect(written.list.find(id)?.deviceId).toBe(id);
    for (const { deviceId } of keys.slice(0, 100))
      expect(written.list.find(deviceId)?.deviceId).toBe(deviceId);
    const headBytes = written.headBytes;
    console.log(
      `${keys.length} keys: ${added} pages more, ${deepest} bits deep, a head of ${headBytes} bytes`,
    );
  },
  180_000,
);

function add(draft: Parameters<typeof addDevice>[0], key: Ground): Promise<void> {
  return addDevice(draft, { ...key, friendlyName: 'x', role: 'controller', hosts: [] }, NOW);
}
