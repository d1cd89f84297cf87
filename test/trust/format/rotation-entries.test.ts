import { describe, expect, it } from 'vitest';
import { type DeviceLine, readEntry, toLine } from '../../../src/trust/format/entry';
import { PagedList } from '../../../src/trust/format/paged-list';
import { emptyHead } from '../../support/list-document';
import { device, NOW } from '../../support/written-list';

const [A, B, C] = ['A', 'B', 'C'].map((letter) => `am_${letter.repeat(16)}`) as [string, string, string];
const DAY = 86_400;

const { hosts: _, ...line } = device(A);
const entry = (more: object) => readEntry({ ...JSON.parse(toLine(line)), ...more });

/** A list with these devices. */
function listOf(...devices: readonly (DeviceLine & { readonly hosts?: unknown })[]): PagedList {
  const bytes = new TextEncoder().encode(
    devices.map(({ hosts: _, ...each }) => `${toLine(each)}\n`).join(''),
  );
  return new PagedList(emptyHead(), '', [{ prefix: '', hash: null, content: { bytes } }]);
}

const former = (id: string, next: string, retiresAt: number, more: Partial<DeviceLine> = {}) => ({
  ...device(id, { roles: [], next, retiresAt }),
  ...more,
});

describe('An entry of a rotation', () => {
  it.each<[string, object]>([
    ['waits', { roles: [], was: [B], pending: true }],
    ['was replaced', { roles: [], next: B, retiresAt: NOW }],
    ['was replaced, and is still a target', { roles: ['target'], next: B, retiresAt: NOW }],
    ['has had another key', { was: [B, C] }],
    ['names a next key that waits', { next: B }],
    ['has had 16 keys', { was: Array(16).fill(B) }],
  ])('is read if it %s', (_what, more) => {
    const read = entry(more);
    expect(read).toMatchObject({ kind: 'device', device: more });
    expect(read?.kind === 'device' && JSON.parse(toLine(read.device))).toMatchObject(more);
  });

  it.each<[string, object]>([
    ['waits with a role', { was: [B], pending: true }],
    ['waits for nobody', { roles: [], pending: true }],
    ['waits, and has a next key', { roles: [], was: [B], pending: true, next: C }],
    ['waits, and was replaced', { roles: [], was: [B], pending: true, next: C, retiresAt: NOW }],
    ['waits by another word', { roles: [], was: [B], pending: 1 }],
    ['does not wait', { roles: [], was: [B], pending: false }],
    ['was replaced by nothing', { roles: [], retiresAt: NOW }],
    ['was replaced, but may call', { next: B, retiresAt: NOW }],
    ['was replaced at no time', { roles: [], next: B, retiresAt: 'soon' }],
    ['has no role', { roles: [] }],
    ['has no role, and a next key', { roles: [], next: B }],
    ['has had 17 keys', { was: Array(17).fill(B) }],
    ['has had an invalid key', { was: ['laptop'] }],
    ['has an invalid next key', { next: 'laptop' }],
  ])('is not understood if it %s', (_what, more) => {
    expect(entry(more)).toBeNull();
  });

  it('of a revoked device may have its name', () => {
    const tombstone = { id: A, revokedAt: NOW, until: NOW + DAY };
    const read = (more: object) => readEntry({ ...tombstone, ...more });
    expect(read({})).toEqual({
      kind: 'tombstone',
      tombstone: { deviceId: A, revokedAt: NOW, until: NOW + DAY },
    });
    expect(read({ conflict: 'laptop' })).toMatchObject({ tombstone: { conflict: 'laptop' } });
    expect(read({ conflict: true })).toBeNull();
    expect(read({ name: 'laptop' })).toBeNull();
    expect(toLine({ deviceId: A, revokedAt: NOW, until: NOW + DAY })).toBe(JSON.stringify(tombstone));
  });
});

describe('A former key', () => {
  const present = (id: string, was: readonly string[], more: Partial<DeviceLine> = {}) =>
    device(id, { was, ...more });

  it('has the rights of the device, and no others', () => {
    const list = listOf(
      former(A, B, NOW + DAY, {
        scopes: ['old'],
        expiresAt: NOW + 9 * DAY,
        keysSince: 1,
        friendlyName: 'old',
      }),
      present(B, [A], { scopes: ['new'], keysSince: 2, friendlyName: 'new' }),
    );
    expect(list.find(A)).toMatchObject({
      deviceId: A,
      friendlyName: 'new',
      roles: ['controller'],
      scopes: ['new'],
      keysSince: 2,
      expiresAt: NOW + DAY,
      replacedBy: B,
    });
    const bare = listOf(former(A, B, NOW + DAY, { scopes: ['old'] }), present(B, [A]));
    expect(bare.find(A)?.scopes ?? []).toEqual([]);
  });

  it('ends with the device, and with each key that follows it', () => {
    const chain = [former(A, B, NOW + 9 * DAY), former(B, C, NOW + DAY, { was: [A] })] as const;
    expect(listOf(...chain, present(C, [A, B])).find(A)?.expiresAt).toBe(NOW + DAY);
    const ending = present(C, [A, B], { expiresAt: NOW + 5 });
    for (const id of [A, B, C]) expect(listOf(...chain, ending).find(id)?.expiresAt).toBe(NOW + 5);
    for (const id of [A, B]) expect(listOf(...chain).find(id)).toBeUndefined();
  });

  it.each<[string, readonly DeviceLine[]]>([
    ['waits', [former(A, B, NOW), device(B, { roles: [], was: [A], pending: true })]],
    ['is a separate device', [former(A, B, NOW), device(B)]],
    ['follows another one', [former(A, B, NOW), device(B, { was: [C] })]],
    ['may not call', [former(A, B, NOW), device(B, { was: [A], roles: ['target'] })]],
    ['is the former one', [former(A, A, NOW, { was: [A] })]],
    ['leads back to it', [former(A, B, NOW, { was: [B] }), former(B, A, NOW, { was: [A] })]],
  ])('may not call if its next one %s', (_what, devices) => {
    expect(listOf(...devices).find(A)).toBeUndefined();
  });

  it('stays a target, whatever happens to the device', () => {
    const target = former(A, B, NOW + DAY, { roles: ['target'] });
    expect(listOf(target).find(A)).toMatchObject({ roles: ['target'] });
    expect(listOf(target).find(A)).not.toHaveProperty('expiresAt');
    expect(listOf(target, present(B, [A])).find(A)).toMatchObject({ roles: ['target', 'controller'] });
  });
});
