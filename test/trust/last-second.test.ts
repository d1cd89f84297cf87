import { addDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { authorize } from '../../src/core/verify/device';
import { allowScopes } from '../../src/trust/changes';
import { addGrant, enrolCaller } from '../../src/trust/grants';
import { newDevice } from '../support/list-document';
import { NOW, WrittenList } from '../support/written-list';

const ID = 'G'.repeat(22);
const LEASE_SECONDS = 3600;
const END = NOW + LEASE_SECONDS;

/** Around an end. The trust lasts up to the first millisecond of its last second. */
const MOMENTS_MS = [-1000, -1, 0, 1, 400, 999, 1000, 1001].map((ms) => END * 1000 + ms);

async function withGrant(): Promise<WrittenList> {
  const written = await WrittenList.create();
  const ends = { uses: 5, used: 0, leaseSeconds: LEASE_SECONDS, maxLeaseSeconds: 90_000 };
  const times = { issuedAt: NOW - 1, expiresAt: NOW + 7200 };
  const grant = { id: ID, publicKey: `Ag${'A'.repeat(42)}`, names: '*', ...ends, ...times };
  await written.change(async (draft) => addGrant(draft, grant, NOW));
  return written;
}

describe('In the second in which its trust ends', () => {
  it.each(MOMENTS_MS)('a caller that enrols again may call: at %i', async (nowMs) => {
    const written = await withGrant();
    const caller = newDevice(undefined, 'cron');
    await written.change((draft) => enrolCaller(draft, ID, caller, NOW));
    const nowSeconds = Math.floor(nowMs / 1000);
    await written.change((draft) => enrolCaller(draft, ID, caller, nowSeconds));
    expect(authorize(written.list, caller.deviceId, [], nowMs)).toMatchObject({ deviceId: caller.deviceId });
  });

  it.each(MOMENTS_MS)('a caller that is paired again may call: at %i', async (nowMs) => {
    const written = await WrittenList.create();
    const caller = { ...newDevice(undefined, 'laptop'), role: 'controller', hosts: [] } as const;
    await written.change((draft) => addDevice(draft, caller, NOW));
    await written.change(async (draft) => void (await allowScopes(draft, caller.deviceId, [], END)));
    const nowSeconds = Math.floor(nowMs / 1000);
    await written.change((draft) => addDevice(draft, { ...caller, isTrustedAnew: true }, nowSeconds));
    expect(authorize(written.list, caller.deviceId, [], nowMs)).toMatchObject({ deviceId: caller.deviceId });
  });

  it.each(MOMENTS_MS)('a grant lets in nobody who then may not call: at %i', async (nowMs) => {
    const written = await withGrant();
    const caller = newDevice(undefined, 'laptop');
    await written.change((draft) => enrolCaller(draft, ID, caller, NOW));
    await written.change(async (draft) => void (await allowScopes(draft, caller.deviceId, [], END)));
    const enrolling = written.change((draft) => enrolCaller(draft, ID, caller, Math.floor(nowMs / 1000)));
    const refusal = await enrolling.then(
      () => null,
      ({ code }) => code,
    );
    const found = authorize(written.list, caller.deviceId, [], nowMs);
    if (refusal === null) expect(found).toMatchObject({ deviceId: caller.deviceId });
    else
      expect({ refusal, isLast: nowMs >= END * 1000 }).toEqual({
        refusal: 'enrolment_refused',
        isLast: true,
      });
  });
});
