import { describe, expect, it, vi } from 'vitest';
import { changeDevices } from '../support/list-document';
import { useEnrolling } from '../support/use-enrolling';
import { SOON } from '../support/waiting';

const enrolling = useEnrolling();
const now = () => Math.floor(Date.now() / 1000);
const SOON_SEEN = 300; // the server looks at its list at most so late

describe('a caller with a grant, at a target that requires a scope', () => {
  it('enrols, gets a lease that no refused request renews, and is accepted with the scope', async () => {
    const target = await enrolling.target({ enroll: true, require: 'orders:read' });
    const { token, id } = await target.grant({ leaseSeconds: 60, maxLeaseSeconds: 600 });
    const caller = enrolling.caller(token);
    const call = async () => (await caller.fetch(target.origin)).status;
    const leaseNow = async () => (await target.list()).devices[0]?.lease;
    const change = async (members: object) => {
      await changeDevices(target.device.trust, (device) => ({ ...device, ...members }));
      await new Promise((resolve) => setTimeout(resolve, SOON_SEEN));
    };

    expect(await call()).toBe(403); // the enrolment itself needs no scope
    const { deviceId } = await caller.identity();
    expect((await target.list()).devices).toMatchObject([{ deviceId, lease: { grant: id } }]);
    expect(target.refusals).toMatchObject([{ code: 'scope_missing', scope: 'orders:read' }]);

    const lease = { grant: id, expiresAt: now() + 20, endsAt: now() + 600 };
    await change({ lease });
    expect(await call()).toBe(403);
    await new Promise((resolve) => setTimeout(resolve, 400)); // a renewal would follow after 100 ms
    expect(await leaseNow()).toEqual(lease);

    await change({ scopes: ['orders:*'] });
    expect(await call()).toBe(200);
    await vi.waitUntil(async () => ((await leaseNow())?.expiresAt ?? 0) > lease.expiresAt, SOON);
  });
});
