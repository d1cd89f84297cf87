import {
  addDevice,
  allowScopes,
  type DeviceEntry,
  denyScopes,
  type ListHead,
  MAX_SCOPES,
  type NewDevice,
  toScopes,
} from '@authmesh/sdk/admin';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { covers } from '../../src/core/devices/scopes';
import { ListDraft } from '../../src/trust/format/draft';
import { addGrant, enrolCaller } from '../../src/trust/grants';
import { takeProvision } from '../../src/trust/tokens';
import { emptyHead } from '../support/list-document';

const NOW = 1_764_000_000;
const DAY = 86_400;
const ID = `am_${'a'.repeat(16)}`;
const peer = { deviceId: ID, publicKey: `Ag${'a'.repeat(42)}`, friendlyName: 'laptop' };
const controller: NewDevice = { ...peer, role: 'controller', hosts: [] };

let head: ListHead;
beforeEach(() => {
  head = emptyHead({ revision: 1 });
});

async function change(act: (draft: ListDraft) => unknown, nowSeconds = NOW): Promise<DeviceEntry> {
  const draft = new ListDraft(head, () => Promise.reject(new Error('A small list has no page.')), nowSeconds);
  await act(draft);
  const device = (await draft.device(ID)) as DeviceEntry;
  if (draft.isChanged) head = (await draft.finish()).head;
  return device;
}

const allow = (...scopes: string[]) => change((draft) => allowScopes(draft, ID, scopes));
const deny = (...scopes: string[]) => change((draft) => denyScopes(draft, ID, scopes));
const withCode = (code: string) => expect.objectContaining({ code });

const patterns = fc.constantFrom('a', 'b', 'a:x', 'a:y', 'a:x:1', 'a:*', 'a:x:*', 'b:*', '*');
const required = ['a', 'b', 'c', 'a:', 'a:x', 'a:y', 'a:x:1', 'a:x:2', 'b:z'];

describe('toScopes', () => {
  it('makes the shortest list with the same meaning', () => {
    fc.assert(
      fc.property(fc.array(patterns), (given) => {
        const scopes = toScopes(given);
        for (const scope of required) expect(covers(scopes, scope)).toBe(covers(given, scope));
        expect(scopes).toEqual([...new Set(scopes)].sort());
        for (const scope of scopes)
          expect(
            covers(
              scopes.filter((other) => other !== scope),
              scope,
            ),
          ).toBe(false);
      }),
    );
  });

  it.each(['', 'A', 'a*', '*:a', 'a:**', 'a b', 'a,b', 'é', 'x'.repeat(65), `${'x'.repeat(63)}:*`, 1, null])(
    'refuses %j',
    (scope) => {
      expect(() => toScopes([scope as string])).toThrow(TypeError);
    },
  );

  it('refuses more than 64, counted when none covers another', () => {
    const many = Array.from({ length: MAX_SCOPES + 1 }, (_, i) => `s:${i}`);
    expect(() => toScopes(many)).toThrow(withCode('too_many_scopes'));
    expect(toScopes([...many, 's:*'])).toEqual(['s:*']);
  });
});

describe('allowScopes and denyScopes', () => {
  it('do what they say, or nothing', async () => {
    const step = fc.record({
      isAllow: fc.boolean(),
      scopes: fc.array(patterns, { minLength: 1, maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        head = emptyHead({ revision: 1 });
        let { scopes: before = [] } = await change((draft) => addDevice(draft, controller, NOW));
        for (const { isAllow, scopes } of steps) {
          const { revision } = head;
          const isRefused = await (isAllow ? allow(...scopes) : deny(...scopes)).then(
            () => false,
            (error) => error.code === 'scope_still_covered',
          );
          const { scopes: after = [] } = await change(() => {});
          const isTouched = (scope: string) => covers(scopes, scope);
          for (const scope of required) {
            const expected = isTouched(scope) && !isRefused ? isAllow : covers(before, scope);
            expect([scopes, scope, covers(after, scope)]).toEqual([scopes, scope, expected]);
          }
          if (isRefused) expect([isAllow, head.revision, after]).toEqual([false, revision, before]);
          before = after;
        }
      }),
    );
  });

  it('refuse a device that is not in the list, one that may not call, and a time in milliseconds', async () => {
    await expect(allow('a')).rejects.toThrow(withCode('unknown_name'));
    await change((draft) => addDevice(draft, { ...controller, role: 'target' }, NOW));
    await expect(allow('a')).rejects.toThrow(withCode('role_not_allowed'));
    await expect(deny('a')).rejects.toThrow(withCode('role_not_allowed'));
    await change((draft) => addDevice(draft, controller, NOW));
    for (const end of [NOW * 1000, -1, 1.5, Number.NaN])
      await expect(change((draft) => allowScopes(draft, ID, [], end))).rejects.toThrow(TypeError);
  });
});

describe('scopes at the start', () => {
  it('come with a controller that a person adds, in addition to its earlier ones', async () => {
    const add = (scopes: string[]) => change((draft) => addDevice(draft, { ...controller, scopes }, NOW));
    expect((await add(['b', 'a:x'])).scopes).toEqual(['a:x', 'b']);
    expect((await add([])).scopes).toEqual(['a:x', 'b']);
    expect((await add(['a:*'])).scopes).toEqual(['a:*', 'b']);
  });

  it('of a provision token are only for an issuer that may not call yet', async () => {
    const take = (id: string) =>
      change((draft) =>
        takeProvision(draft, { id, issuedAt: NOW, controller: peer, hosts: [], scopes: ['a', 'b'] }, NOW),
      );
    expect((await take('1')).scopes).toEqual(['a', 'b']);
    await deny('b');
    expect((await take('1')).scopes).toEqual(['a']); // the same token left in the environment
    expect((await take('2')).scopes).toEqual(['a']); // and a new one by the same issuer
  });

  it('of a grant replace those of a lease that is over', async () => {
    const grant = (id: string, scopes?: readonly string[]) => ({
      ...{ id, publicKey: '', names: '*', uses: 9, used: 0, issuedAt: NOW, expiresAt: NOW + 900 },
      ...{ leaseSeconds: 60, maxLeaseSeconds: 60, ...(scopes && { scopes }) },
    });
    await change((draft) => addGrant(draft, grant('wide', ['a', 'b']), NOW));
    await change((draft) => addGrant(draft, grant('none'), NOW));
    const enrol = (id: string, now: number) => change((draft) => enrolCaller(draft, id, peer, now), now);
    expect((await enrol('wide', NOW)).scopes).toEqual(['a', 'b']);
    expect((await enrol('none', NOW + 1)).scopes).toEqual(['a', 'b']); // there already
    expect(await enrol('none', NOW + 100)).not.toHaveProperty('scopes');
  });
});

describe('the end of the trust in a device', () => {
  const end = (expiresAt: number | null) => change((draft) => allowScopes(draft, ID, [], expiresAt));
  const add = (more: Partial<NewDevice>) =>
    change((draft) => addDevice(draft, { ...controller, ...more }, NOW));

  it('applies until a person trusts the device again after it', async () => {
    await add({ scopes: ['a'] });
    await end(NOW - 1);
    expect((await add({})).expiresAt).toBe(NOW - 1);
    const anew = await add({ isTrustedAnew: true });
    expect(anew).not.toHaveProperty('expiresAt');
    expect(anew.scopes).toEqual(['a']);
    await end(NOW + 1);
    expect((await add({ isTrustedAnew: true })).expiresAt).toBe(NOW + 1);
    expect(await end(null)).not.toHaveProperty('expiresAt');
  });

  it('is not moved by a token or a grant', async () => {
    await add({});
    await end(NOW - 1);
    const provision = { id: '1', issuedAt: NOW, controller: peer, hosts: [] };
    expect((await change((draft) => takeProvision(draft, provision, NOW))).expiresAt).toBe(NOW - 1);
  });

  it('outlasts a lease, for as long as an open grant could start another one without it', async () => {
    const enrol = (now: number) => change((draft) => enrolCaller(draft, 'g', peer, now), now);
    const changeAnother = (now: number) =>
      change(
        (draft) => addDevice(draft, { ...controller, deviceId: `am_${String(now).padEnd(16, 'b')}` }, now),
        now,
      );
    const grant = {
      id: 'g',
      publicKey: '',
      names: '*',
      uses: 9,
      used: 0,
      issuedAt: NOW,
      expiresAt: NOW + DAY,
    };
    await change((draft) => addGrant(draft, { ...grant, leaseSeconds: 60, maxLeaseSeconds: 60 }, NOW));
    await enrol(NOW);
    await end(NOW + 10);
    await changeAnother(NOW + 100); // which forgets leases that are over
    await expect(enrol(NOW + 101)).rejects.toEqual(withCode('enrolment_refused'));
    await changeAnother(NOW + 60 + DAY);
    await expect(enrol(NOW + DAY - 1)).rejects.toEqual(withCode('enrolment_refused'));
    await changeAnother(NOW + 60 + DAY + 3601);
    expect(await change(() => {})).toBeUndefined();
  });

  it('makes no new revision if nothing is new, whatever the order of the members of an entry', async () => {
    const lease = { grant: 'g', expiresAt: NOW + 9, endsAt: NOW + 99 };
    await add({ role: 'target', scopes: ['a'] });
    const { scopes, ...known } = await change(() => {});
    await change((draft) => draft.put({ lease, expiresAt: NOW + 5, ...known, ...(scopes && { scopes }) }));
    const { revision } = head;
    await add({ role: 'target' });
    expect(head.revision).toBe(revision);
  });
});
