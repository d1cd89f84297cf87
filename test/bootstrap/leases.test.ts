import type { Grant } from '@authmesh/sdk/admin';
import { afterEach, expect, it, vi } from 'vitest';
import { isLeaseDue } from '../../src/bootstrap/grants/leases';
import type { TrustedDevice } from '../../src/core/devices/allow-list';
import { ListDraft } from '../../src/trust/format/draft';
import { loadPages } from '../../src/trust/format/load-pages';
import { PagedList } from '../../src/trust/format/paged-list';
import { emptyHead, newDevice } from '../support/list-document';

const NOW = 1_764_000_000;
const GRANT = { id: 'g'.repeat(22), leaseSeconds: 1000 } as Grant;

afterEach(() => vi.restoreAllMocks());

async function toList(more: object): Promise<[PagedList, TrustedDevice]> {
  const draft = new ListDraft(emptyHead({ grants: [GRANT] }), () => Promise.reject(), NOW);
  const device = newDevice();
  await draft.put({ ...device, ...more });
  const { head } = await draft.finish();
  const list = new PagedList(head, '', await loadPages(head, [], async () => []));
  return [list, list.find(device.deviceId) as TrustedDevice];
}

const at = (seconds: number) => vi.spyOn(Date, 'now').mockReturnValue(seconds * 1000);

it('is due in its second half, and is looked up once before that', async () => {
  const lease = { grant: GRANT.id, expiresAt: NOW + 1000, endsAt: NOW + 5000 };
  const [list, device] = await toList({ lease });
  const entry = vi.spyOn(list, 'entry');
  at(NOW);
  for (let i = 0; i < 100; i++) expect(isLeaseDue(device, list)).toBe(false);
  at(NOW + 499);
  expect(isLeaseDue(device, list)).toBe(false);
  expect(entry).toHaveBeenCalledTimes(1);
  at(NOW + 500);
  expect(isLeaseDue(device, list)).toBe(true);
  at(NOW + 1001);
  expect(isLeaseDue(device, list)).toBe(false);
});

it('is never due for a device whose end a person has set', async () => {
  const [list, device] = await toList({ expiresAt: NOW + 1000 });
  const entry = vi.spyOn(list, 'entry');
  for (const seconds of [NOW, NOW + 500, NOW + 999]) {
    at(seconds);
    expect(isLeaseDue(device, list)).toBe(false);
  }
  expect(entry).toHaveBeenCalledTimes(1);
});
