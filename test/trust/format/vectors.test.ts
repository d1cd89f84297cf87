import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromBase64Url, toUtf8 } from '../../../src/core/encoding';
import { openHead } from '../../../src/trust/format/head';
import { loadPages } from '../../../src/trust/format/load-pages';
import { PagedList } from '../../../src/trust/format/paged-list';

interface Vector {
  readonly title: string;
  readonly head: string;
  readonly pages: Readonly<Record<string, string>>;
  readonly owners: readonly string[];
  readonly list: string;
  readonly code?: string;
  readonly find?: Readonly<Record<string, string>>;
  readonly rights?: Readonly<Record<string, object>>;
}

const { cases } = JSON.parse(readFileSync(new URL('../../vectors/list.json', import.meta.url), 'utf8')) as {
  readonly cases: readonly Vector[];
};

async function open({ head: text, pages, owners, list }: Vector): Promise<PagedList> {
  const keys = owners.map((owner) => fromBase64Url(owner) as Uint8Array);
  const { head, mark } = await openHead(toUtf8(text), keys, list);
  const read = async (hashes: readonly string[]) =>
    hashes.map((hash) => (Object.hasOwn(pages, hash) ? toUtf8(pages[hash] as string) : null));
  return new PagedList(head, mark, await loadPages(head, [], read));
}

function look(list: PagedList, deviceId: string): string {
  try {
    return list.find(deviceId) === undefined ? 'none' : 'device';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

function rightsOf(list: PagedList, deviceId: string): object {
  const { friendlyName: name, scopes = null, expiresAt: ends = null, roles } = list.find(deviceId) ?? {};
  return roles?.includes('controller') ? { name, scopes, ends } : {};
}

describe('lists of another implementation', () => {
  it('include valid and invalid ones', () => {
    expect(cases.filter(({ code }) => code === undefined).length).toBeGreaterThan(40);
    expect(cases.filter(({ code }) => code !== undefined).length).toBeGreaterThan(60);
  });

  it.each(cases.map((vector) => [vector.title, vector] as const))('%s', async (_, vector) => {
    if (vector.code !== undefined) {
      await expect(open(vector)).rejects.toMatchObject({ code: vector.code });
      return;
    }
    const list = await open(vector);
    const ids = Object.keys(vector.find as object);
    expect(Object.fromEntries(ids.map((id) => [id, look(list, id)]))).toEqual(vector.find);
    for (const [id, rights] of Object.entries(vector.rights ?? {}))
      expect(rightsOf(list, id)).toEqual(rights);
    // The second call uses the device that the first one cached.
    expect(Object.fromEntries(ids.map((id) => [id, look(list, id)]))).toEqual(vector.find);
  });
});
