import { addDevice, revokeDevice } from '@authmesh/sdk/admin';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { assertAdmitted } from '../../src/bootstrap/grants/enrolment-policy';
import type { ListDraft } from '../../src/trust/format/draft';
import { addGrant, enrolCaller } from '../../src/trust/grants';
import { takeProvision } from '../../src/trust/tokens';
import { newDevice } from '../support/list-document';
import { NOW, WrittenList } from '../support/written-list';

const ID = 'G'.repeat(22);
const LEASE_SECONDS = 3600;
const LATER = NOW + LEASE_SECONDS + 100;

const caller = newDevice(undefined, 'job');

/** A list with a caller whose lease has ended. An entry leaves a page with the next change of that page, whatever that is. */
async function withEndedLease({ isRewritten }: { readonly isRewritten: boolean }): Promise<WrittenList> {
  const written = await WrittenList.create();
  const ends = { uses: 5, used: 0, leaseSeconds: LEASE_SECONDS, maxLeaseSeconds: 90_000 };
  const times = { issuedAt: NOW - 1, expiresAt: NOW + 600 };
  const key = { id: ID, publicKey: `Ag${'A'.repeat(42)}`, names: '*', scopes: ['deploy:*'] };
  await written.change(async (draft) => {
    addGrant(draft, { ...key, ...ends, ...times }, NOW);
    await enrolCaller(draft, ID, caller, NOW);
  });
  const other = newDevice(undefined, 'other');
  const change = (draft: ListDraft) => addDevice(draft, { ...other, role: 'controller', hosts: [] }, LATER);
  if (isRewritten) await written.change(change, LATER);
  expect(written.list.find(caller.deviceId) === undefined).toBe(isRewritten);
  return written;
}

describe.each([{ isRewritten: true }, { isRewritten: false }])('The scopes of an ended lease, %j', (how) => {
  it('do not come back when the caller is paired', async () => {
    const written = await withEndedLease(how);
    const paired = { ...caller, role: 'controller', hosts: [], isTrustedAnew: true } as const;
    await written.change((draft) => addDevice(draft, { ...paired, scopes: ['orders:read'] }, LATER), LATER);
    const found = written.list.entry(caller.deviceId);
    expect(found).toMatchObject({ roles: ['controller'], scopes: ['orders:read'] });
    expect(found?.lease).toBeUndefined();
  });

  it('do not come back with a provision token of the caller, and those of the token count', async () => {
    const written = await withEndedLease(how);
    const token = { id: 'T'.repeat(22), issuedAt: LATER - 1, controller: caller, hosts: [] };
    await written.change(
      (draft) => takeProvision(draft, { ...token, scopes: ['orders:read'] }, LATER),
      LATER,
    );
    const found = written.list.entry(caller.deviceId);
    expect(found).toMatchObject({ roles: ['controller'], scopes: ['orders:read'] });
    expect(found?.lease).toBeUndefined();
  });

  it('stay for a new pairing where a person has set an end, for 25 hours', async () => {
    const written = await WrittenList.create();
    const device = { ...caller, scopes: ['deploy:*'], expiresAt: NOW + 900_000 };
    const lease = { grant: ID, expiresAt: NOW, endsAt: NOW };
    await written.change((draft) => draft.put({ ...device, lease }));
    const paired = { ...caller, role: 'controller', hosts: [] } as const;
    const scopesAfter = async (nowSeconds: number) => {
      const copy = await WrittenList.create();
      await copy.change((draft) => draft.take(written.list.lines()));
      if (how.isRewritten) await copy.change((draft) => draft.put(newDevice()), nowSeconds);
      await copy.change((draft) => addDevice(draft, paired, nowSeconds), nowSeconds);
      return copy.list.entry(caller.deviceId)?.scopes;
    };
    expect(await scopesAfter(NOW + 25 * 3600 - 1)).toEqual(['deploy:*']);
    expect(await scopesAfter(NOW + 25 * 3600)).toBeUndefined();
  });

  it('stay away while the caller becomes a target, which may not call', async () => {
    const written = await withEndedLease(how);
    const target = { ...caller, role: 'target', hosts: ['job:3000'] } as const;
    await written.change((draft) => addDevice(draft, target, LATER), LATER);
    expect(written.list.entry(caller.deviceId)).toMatchObject({ roles: ['target'] });
    expect(written.list.entry(caller.deviceId)?.scopes).toBeUndefined();
  });
});

describe.each([true, false])(
  'A revoked caller, when its tombstone may be forgotten (and is: %s)',
  (isForgotten) => {
    it.each([
      [25 * 3600 - 1, 'enrolment_refused'],
      [25 * 3600, null],
    ])('after %i s and a new grant', async (seconds, expected) => {
      const written = await WrittenList.create();
      const later = NOW + seconds;
      await written.change(async (draft) => {
        await draft.put(caller);
        await revokeDevice(draft, caller.deviceId, NOW);
      });
      if (isForgotten) await written.change((draft) => draft.put(newDevice()), later);
      const ends = { uses: 5, used: 0, leaseSeconds: LEASE_SECONDS, maxLeaseSeconds: 90_000 };
      const times = { issuedAt: later, expiresAt: later + 600 };
      await written.change(async (draft) =>
        addGrant(draft, { id: ID, publicKey: `Ag${'A'.repeat(42)}`, names: '*', ...ends, ...times }, later),
      );
      const clock = vi.spyOn(Date, 'now').mockReturnValue(later * 1000);
      onTestFinished(() => clock.mockRestore());
      const early = () => assertAdmitted(written.list, ID, caller);
      if (expected === null) early();
      else expect(early).toThrow(expect.objectContaining({ code: expected }));
      const enrolling = written.change((draft) => enrolCaller(draft, ID, caller, later), later);
      const refusal = await enrolling.then(
        () => null,
        ({ code }) => code,
      );
      expect(refusal).toBe(expected);
    });
  },
);
