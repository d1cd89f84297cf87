import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { allowScopes, cutKeys, type Device, renameDevice, revokeDevice } from '@authmesh/sdk/admin';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fromBase64Url } from '../../src/core/encoding';
import { RotationTaker } from '../../src/machine/rotation/take-rotation';
import { acceptSuccessor, refuseSuccessor } from '../../src/trust/rotation/successor';
import { callsOf } from '../support/calls-of';
import { asking, checked } from '../support/proofs';
import { type Key, newKey, type RotatingTarget, requestOf, rotatingTarget } from '../support/rotating';
import { LENT, workerOf } from '../support/statements';
import { SOON } from '../support/waiting';

const DAY_MS = 86_400_000;
const now = () => Math.floor(Date.now() / 1000);

let target: RotatingTarget;
let next: Key;
let logged: ReturnType<typeof vi.spyOn>;
beforeEach(async () => {
  logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
  target = await rotatingTarget();
  next = await newKey();
});
afterEach(async () => {
  vi.useRealTimers();
  logged.mockRestore();
  await target.remove();
});

const lines = () => callsOf(logged).map(([line]: unknown[]) => String(line));
const told = (text: string) => lines().filter((line: string) => line.includes(text));
const accept = () => target.trust.update((draft) => acceptSuccessor(draft, target.caller.deviceId, now()));
/** The list in memory is looked at again after 250 ms. */
const settled = () => vi.waitFor(async () => expect((await target.call(next)).code).toBeUndefined());

async function fakes() {
  const list = await target.trust.read();
  const device = list.find(target.caller.deviceId);
  if (device === undefined) throw new Error('no caller');
  return { device, list, statements: { has: () => false } };
}

describe('A target where an administrator accepts next keys', () => {
  it('answers "waiting", and does not let the next key call', async () => {
    const rotation = await target.statement(target.caller, next);
    expect(await target.call(target.caller, { rotation })).toMatchObject({ answer: 'waiting' });
    expect(await target.call(target.caller, { rotation })).toMatchObject({ answer: 'waiting' });
    expect(await target.call(next)).toEqual({ code: 'unknown_device' });
    expect(await target.list()).toContainEqual(
      expect.objectContaining({ deviceId: next.deviceId, pending: true, roles: [] }),
    );
  });

  it('names once in its log who waits, with the two commands', async () => {
    const rotation = await target.statement(target.caller, next);
    for (let i = 0; i < 3; i++) await target.call(target.caller, { rotation });
    expect(told(next.deviceId)).toEqual([
      `amesh: "laptop" (${target.caller.deviceId}) asks to replace its key with ${next.deviceId}, which waits until you decide. Ask its owner. If it is right: amesh rotate accept ${target.caller.deviceId}. If not: amesh rotate refuse ${target.caller.deviceId}`,
    ]);
  });

  it('changes its list once, however many requests carry the statement at a time', async () => {
    const { head } = await target.trust.update(() => {});
    const rotation = await target.statement(target.caller, next);
    const all = await Promise.all(Array.from({ length: 20 }, () => target.call(target.caller, { rotation })));
    expect(new Set(all.map(({ answer }) => answer))).toEqual(new Set(['waiting']));
    expect((await target.trust.update(() => {})).head.revision).toBe(head.revision + 1);
  });

  it('accepts both keys once the next one was accepted, with the same rights', async () => {
    const rotation = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation });
    await accept();
    await settled();
    const { deviceId } = target.caller;
    expect(await target.call(next)).toEqual({
      answer: undefined,
      deviceId: next.deviceId,
      formerIds: [deviceId],
      scopes: ['orders:read'],
    });
    expect(await target.call(target.caller, { rotation })).toEqual({
      answer: 'accepted',
      deviceId,
      formerIds: undefined,
      scopes: ['orders:read'],
    });
  });

  it('gives the former key no right that the device has lost since then', async () => {
    await target.call(target.caller, { rotation: await target.statement(target.caller, next) });
    await accept();
    await settled();
    const { trust, caller } = target;
    await trust.update((draft) => allowScopes(draft, caller.deviceId, ['reports:*']));
    await vi.waitFor(async () =>
      expect((await target.call(caller)).scopes).toEqual(['orders:read', 'reports:*']),
    );
    expect((await target.call(next)).scopes).toEqual(['orders:read', 'reports:*']);
  });

  it('refuses the former key after 30 days', async () => {
    await target.call(target.caller, { rotation: await target.statement(target.caller, next) });
    await accept();
    await settled();
    expect((await target.call(target.caller)).code).toBeUndefined();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 30 * DAY_MS + 1000 });
    const verifier = target.verifierWith();
    expect(await target.call(target.caller, { verifier })).toEqual({ code: 'device_expired' });
    expect((await target.call(next, { verifier })).code).toBeUndefined();
  });

  it('answers "refused" after the administrator has refused it', async () => {
    const rotation = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation });
    await target.trust.update((draft) => refuseSuccessor(draft, target.caller.deviceId, now()));
    await vi.waitFor(async () =>
      expect(await target.call(target.caller, { rotation })).toMatchObject({ answer: 'refused' }),
    );
    expect(await target.call(next)).toEqual({ code: 'unknown_device' });
  });

  it('answers "refused" as long as the statement is valid: nobody has to refuse it each day', async () => {
    const rotation = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation });
    await target.trust.update((draft) => refuseSuccessor(draft, target.caller.deviceId, now()));
    for (const days of [2, 27]) {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + days * 86_400_000 });
      await target.add(await newKey(), `another ${days}`); // so the list forgets what is over
      const verifier = target.verifierWith();
      expect(await target.call(target.caller, { rotation, verifier })).toMatchObject({ answer: 'refused' });
    }
    vi.useRealTimers();
  });
});

describe('A former key that still calls', () => {
  it('is seen as the device, and extends its lease', async () => {
    const { trust, caller } = target;
    const id = 'G'.repeat(22);
    const grant = {
      id,
      publicKey: `Ag${'A'.repeat(42)}`,
      names: '*',
      uses: 1,
      used: 1,
      leaseSeconds: 7200,
      maxLeaseSeconds: 90_000,
      issuedAt: now(),
      expiresAt: now() + 600,
    };
    const lease = { grant: id, expiresAt: now() + 600, endsAt: now() + 90_000 };
    await trust.update(async (draft) => {
      draft.change({ grants: [grant] });
      const device = await draft.device(caller.deviceId);
      if (device !== undefined) await draft.put({ ...device, lease });
    });
    const verifier = target.verifierWith({ acceptRotation: 'auto' });
    await target.call(caller, { rotation: await target.statement(caller, next), verifier });
    expect((await trust.read()).entry(next.deviceId)).toMatchObject({ lease: { grant: id } });
    await target.call(caller, { verifier });
    await vi.waitFor(async () => {
      const list = await trust.read();
      expect(list.entry(next.deviceId)?.lease?.expiresAt).toBeGreaterThan(lease.expiresAt + 3600);
      expect([...(await trust.lastSeen.read(list)).keys()]).toContain(next.deviceId);
    }, SOON);
    expect((await trust.read()).entry(caller.deviceId)).not.toHaveProperty('lease');
  });
});

describe('a target that accepts next keys by itself', () => {
  it('answers "accepted", and accepts the next key with the next request', async () => {
    const verifier = target.verifierWith({ acceptRotation: 'auto' });
    const rotation = await target.statement(target.caller, next);
    expect(await target.call(target.caller, { rotation, verifier })).toMatchObject({ answer: 'accepted' });
    expect(await target.call(next, { verifier })).toMatchObject({ formerIds: [target.caller.deviceId] });
    expect(told('Both count for 30 days')).toHaveLength(1);
  });

  it('accepts what waited before', async () => {
    const rotation = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation });
    const verifier = target.verifierWith({ acceptRotation: 'auto' });
    expect(await target.call(target.caller, { rotation, verifier })).toMatchObject({ answer: 'accepted' });
  });

  it('follows a chain of keys, and the oldest ID stays', async () => {
    const verifier = target.verifierWith({ acceptRotation: 'auto' });
    const keys = [target.caller, next, await newKey(), await newKey()];
    for (const [i, key] of keys.slice(1).entries()) {
      const former = keys[i] as Key;
      const rotation = await target.statement(former, key);
      expect(await target.call(former, { rotation, verifier })).toMatchObject({ answer: 'accepted' });
    }
    const ids = keys.map(({ deviceId }) => deviceId);
    for (const [i, key] of keys.entries()) {
      const { formerIds, deviceId, scopes } = await target.call(key, { verifier });
      expect(formerIds?.[0] ?? deviceId).toBe(ids[0]);
      expect(formerIds ?? []).toEqual(ids.slice(0, i));
      expect(scopes).toEqual(['orders:read']);
    }
  });
});

describe('the answer about a next key', () => {
  it('is covered by the proof, and a changed one is not proven', async () => {
    const rotation = await target.statement(target.caller, next);
    const headers = { 'authmesh-rotation': rotation };
    const { request, expected } = await asking({ headers }, { signer: target.caller, created: now() });
    const verdict = await target.verifier.verify(request);
    if (!verdict.ok) throw new Error(verdict.kind);
    const answer = { status: 200, headers: { ...verdict.headers }, body: Buffer.from('hello') };
    const added = await verdict.proof?.sign(answer);
    const { owner } = await target.trust.readHead();
    const key = await nodeCrypto.importPublicKey(fromBase64Url(owner) as Uint8Array);
    const received = (value: string) => ({
      ...answer,
      headers: { ...answer.headers, ...added, 'authmesh-rotation': value },
    });
    const check = (value: string) =>
      checked(received(value), { ...expected, deviceId: target.deviceId, key, nowMs: Date.now() });
    const proven = await check('waiting');
    expect(proven.proof).toBe('proven');
    expect(proven.covered).toContain('authmesh-rotation');
    expect((await check('accepted')).proof).not.toBe('proven');
  });
});

describe('A target that accepts no next keys', () => {
  it('answers "refused", and says why in its log', async () => {
    const verifier = target.verifierWith({ acceptRotation: false });
    const rotation = await target.statement(target.caller, next);
    expect(await target.call(target.caller, { rotation, verifier })).toMatchObject({ answer: 'refused' });
    expect(told('acceptRotation is false')).toHaveLength(1);
    expect(await target.list()).toHaveLength(1);
  });

  it('throws a TypeError for any other value', () => {
    for (const acceptRotation of [true, 'yes', null, 1])
      expect(() => target.verifierWith({ acceptRotation: acceptRotation as 'auto' })).toThrow(
        'acceptRotation is "admin", "auto" or false.',
      );
  });
});

describe('A statement that is not valid', () => {
  const AUTO = { acceptRotation: 'auto' } as const;

  async function refused(by: Key, rotation: string, why: string): Promise<void> {
    const before = await target.list();
    const verifier = target.verifierWith(AUTO);
    expect(await target.call(by, { rotation, verifier })).toMatchObject({
      answer: 'refused',
      deviceId: by.deviceId,
    });
    expect(told(why).length).toBeGreaterThan(0);
    expect(await target.list()).toEqual(before);
  }

  it('is one with a changed byte', async () => {
    const good = await target.statement(target.caller, next);
    for (const at of [3, good.length - 100, good.length - 3]) {
      const other = good[at] === 'A' ? 'B' : 'A';
      await refused(target.caller, good.slice(0, at) + other + good.slice(at + 1), 'is malformed');
    }
  });

  it('is a text without a meaning', async () => {
    for (const text of ['', 'x', 'accepted', `rotate=${next.deviceId}`, 'withdraw=', 'retire=laptop'])
      await refused(target.caller, text, 'is malformed');
  });

  it('is one of another device', async () => {
    const other = await newKey();
    await target.add(other, 'other');
    await refused(target.caller, await target.statement(other, next), 'the key of another device');
  });

  it('is one for another target', async () => {
    const { deviceId } = await newKey();
    const rotation = await target.statement(target.caller, next, { targetId: deviceId });
    await refused(target.caller, rotation, 'for another target');
  });

  it('is one of a target to its callers', async () => {
    const rotation = await target.statement(target.caller, next, { targetId: target.caller.deviceId });
    await refused(target.caller, rotation, 'for another target');
  });

  it('is one that is 30 days old', async () => {
    const nowMs = Date.now() - 30 * DAY_MS - 2000;
    await refused(target.caller, await target.statement(target.caller, next, { nowMs }), '30 days old');
  });

  it('is one from the future', async () => {
    const nowMs = Date.now() + 310_000;
    await refused(target.caller, await target.statement(target.caller, next, { nowMs }), 'from the future');
  });

  it('is one that a delegate carries', async () => {
    const { signer } = await workerOf(
      {
        deviceId: target.caller.deviceId,
        issuedAt: now() - 300,
        expiresAt: now() + 600,
        delegation: { ...LENT, targets: [target.deviceId] },
      },
      target.caller,
    );
    const rotation = await target.statement(target.caller, next);
    const verifier = target.verifierWith(AUTO, { delegates: true });
    expect(await target.call(signer, { rotation, verifier })).toMatchObject({ answer: 'refused' });
    expect(told('A delegate cannot')).toHaveLength(1);
    expect(await target.list()).toHaveLength(1);
  });

  it('is one about a device in the list', async () => {
    const other = await newKey();
    await target.add(other, 'other');
    await refused(target.caller, await target.statement(target.caller, other), 'in the list already');
  });

  it('is one about a device that was revoked', async () => {
    const other = await newKey();
    await target.add(other, 'other');
    await target.trust.update((draft) => revokeDevice(draft, other.deviceId, now()));
    await refused(target.caller, await target.statement(target.caller, other), 'was revoked');
  });

  it('is one about a working key that the server knows', async () => {
    const verifier = target.verifierWith(AUTO);
    const other = await newKey();
    await target.add(other, 'other');
    const { signer } = await workerOf(
      { deviceId: other.deviceId, issuedAt: now() - 300, expiresAt: now() + 600 },
      other,
    );
    expect((await target.call(signer, { verifier })).code).toBeUndefined();
    const rotation = await target.statement(target.caller, signer);
    expect(await target.call(target.caller, { rotation, verifier })).toMatchObject({ answer: 'refused' });
    expect(told('is a working key')).toHaveLength(1);
  });

  it('is one from before the keys of the device were cut', async () => {
    const rotation = await target.statement(target.caller, next, { nowMs: Date.now() - 5000 });
    await target.trust.update((draft) => cutKeys(draft, target.caller.deviceId, now()));
    await refused(target.caller, rotation, 'from before');
  });

  it('is one from before the device was revoked and trusted again', async () => {
    const rotation = await target.statement(target.caller, next, { nowMs: Date.now() - 5000 });
    await target.trust.update((draft) => revokeDevice(draft, target.caller.deviceId, now()));
    await target.add(target.caller, 'laptop');
    await refused(target.caller, rotation, 'from before');
  });
});

describe('A working key of the device', () => {
  it('carries a statement, but withdraws and retires nothing', async () => {
    const verifier = target.verifierWith({ acceptRotation: 'auto' });
    const { signer } = await workerOf(
      { deviceId: target.caller.deviceId, issuedAt: now() - 300, expiresAt: now() + 600 },
      target.caller,
    );
    const rotation = await target.statement(target.caller, next);
    expect(await target.call(signer, { rotation, verifier })).toMatchObject({ answer: 'accepted' });
    for (const kind of ['withdraw', 'retire']) {
      const answer = await target.call(signer, { rotation: `${kind}=${next.deviceId}`, verifier });
      expect(answer).toMatchObject({ answer: 'refused' });
    }
    expect((await target.call(next, { verifier })).code).toBeUndefined();
    expect(told('Only the device key itself')).toHaveLength(1);
  });
});

describe('The former key', () => {
  const withdraw = () => `withdraw=${next.deviceId}`;

  it('takes back a next key that waits', async () => {
    const rotation = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation });
    expect(await target.call(target.caller, { rotation: withdraw() })).toMatchObject({ answer: 'withdrawn' });
    await expect(accept()).rejects.toMatchObject({ code: 'no_rotation' });
    expect(told('withdrew its next key')).toHaveLength(1);
    // The statement is still 30 days valid.
    expect(await target.call(target.caller, { rotation })).toMatchObject({ answer: 'refused' });
  });

  it('takes back a statement that was held back in between, so that it is never valid', async () => {
    const rotation = await target.statement(target.caller, next);
    const held = await requestOf(target.caller, { rotation });
    const answer = await target.call(target.caller, { rotation: `withdraw=${rotation}` });
    expect(answer).toMatchObject({ answer: 'withdrawn' });
    expect(await target.verifier.verify(held)).toMatchObject({
      ok: true,
      headers: { 'authmesh-rotation': 'refused' },
    });
    // The device would be revoked if both had been taken.
    const later = await target.statement(target.caller, await newKey());
    expect(await target.call(target.caller, { rotation: later })).toMatchObject({ answer: 'waiting' });
    expect((await target.call(target.caller)).scopes).toEqual(['orders:read']);
  });

  it('takes back with a statement what waits, and what was accepted', async () => {
    const verifier = target.verifierWith({ acceptRotation: 'auto' });
    for (const how of [{}, { verifier }]) {
      const named = await newKey();
      const rotation = await target.statement(target.caller, named);
      await target.call(target.caller, { rotation, ...how });
      const back = { rotation: `withdraw=${rotation}`, ...how };
      expect(await target.call(target.caller, back)).toMatchObject({ answer: 'withdrawn' });
      const [device, ...others] = await target.list();
      expect(others).toEqual([]);
      expect(device?.next).toBe(named.deviceId); // to say "withdrawn" again
      expect(device).not.toHaveProperty('retiresAt');
    }
    expect(told('withdrew its next key')).toHaveLength(2);
  });

  it('takes back no statement of another device, for another target, or with a wrong signature', async () => {
    const stranger = await newKey();
    const enrolled = await newKey();
    const right = await target.statement(target.caller, enrolled);
    const wrong = [
      await target.statement(stranger, enrolled),
      await target.statement(target.caller, enrolled, { targetId: stranger.deviceId }),
      `${right.slice(0, right.lastIndexOf('.'))}.${'A'.repeat(86)}`,
    ];
    for (const text of wrong) {
      const answer = await target.call(target.caller, { rotation: `withdraw=${text}` });
      expect(answer).toMatchObject({ answer: 'refused' });
    }
    // Nobody can keep a key that is not theirs out of the list.
    const rotation = await target.statement(target.caller, enrolled);
    expect(await target.call(target.caller, { rotation })).toMatchObject({ answer: 'waiting' });
  });

  it('takes back a next key that was accepted', async () => {
    const verifier = target.verifierWith({ acceptRotation: 'auto' });
    const rotation = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation, verifier });
    await target.trust.update((draft) => renameDevice(draft, next.deviceId, 'notebook'));
    expect(await target.call(target.caller, { rotation: withdraw(), verifier })).toMatchObject({
      answer: 'withdrawn',
    });
    expect(await target.call(next, { verifier })).toEqual({ code: 'unknown_device' });
    expect(await target.call(target.caller, { rotation, verifier })).toMatchObject({
      answer: 'refused',
      scopes: ['orders:read'],
    });
    const [device, ...others] = await target.list();
    expect(others).toEqual([]);
    expect(device).toMatchObject({ deviceId: target.caller.deviceId, friendlyName: 'notebook' });
    expect(device).not.toHaveProperty('retiresAt');
    expect(device?.next).toBe(next.deviceId); // to say "withdrawn" again
  });

  it('ends its own time, 25 hours from then', async () => {
    const verifier = target.verifierWith({ acceptRotation: 'auto' });
    await target.call(target.caller, { rotation: await target.statement(target.caller, next), verifier });
    const rotation = `retire=${next.deviceId}`;
    expect(await target.call(target.caller, { rotation, verifier })).toMatchObject({ answer: 'accepted' });
    expect((await target.call(target.caller, { verifier })).code).toBeUndefined();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 25 * 3_600_000 + 2000 });
    const later = target.verifierWith();
    expect(await target.call(target.caller, { verifier: later })).toEqual({ code: 'device_expired' });
    expect((await target.call(next, { verifier: later })).code).toBeUndefined();
  });

  it('withdraws and retires nothing that is not its own next key', async () => {
    const verifier = target.verifierWith({ acceptRotation: 'auto' });
    const other = await newKey();
    await target.add(other, 'other');
    await target.call(target.caller, { rotation: await target.statement(target.caller, next), verifier });
    for (const [by, id] of [
      [other, next.deviceId],
      [other, target.caller.deviceId],
      [next, next.deviceId],
      [next, target.caller.deviceId],
      [target.caller, other.deviceId],
    ] as const)
      for (const kind of ['withdraw', 'retire'])
        expect(await target.call(by, { rotation: `${kind}=${id}`, verifier })).toMatchObject({
          answer: 'refused',
        });
    for (const key of [target.caller, next, other])
      expect((await target.call(key, { verifier })).code).toBeUndefined();
  });
});

describe('Two next keys of one key', () => {
  it.each(['admin', 'auto'] as const)(
    'revoke the device with all its keys, and say so loudly (%s)',
    async (acceptRotation) => {
      const verifier = target.verifierWith({ acceptRotation });
      const thief = await newKey();
      await target.call(target.caller, { rotation: await target.statement(target.caller, thief), verifier });
      const rotation = await target.statement(target.caller, next);
      expect(await target.call(target.caller, { rotation, verifier })).toMatchObject({ answer: 'refused' });
      for (const key of [target.caller, thief, next])
        expect(await target.call(key, { verifier })).toEqual({ code: 'unknown_device' });
      expect(told('was revoked with all its keys')).toHaveLength(1);
    },
  );
});

describe('An older statement of a key that has named another next key since', () => {
  const AUTO = { acceptRotation: 'auto' } as const;
  /** It is refused, and everything stays as it is. */
  async function refused(rotation: string, how = {}): Promise<void> {
    const before = await target.list();
    const answer = await target.call(target.caller, { rotation, ...how });
    expect(answer).toMatchObject({ answer: 'refused', deviceId: target.caller.deviceId });
    expect(await target.list()).toEqual(before);
    expect(told('was revoked with all its keys')).toEqual([]);
  }

  it.each(['admin', 'auto'] as const)('was taken back, and revokes nothing (%s)', async (acceptRotation) => {
    const verifier = target.verifierWith({ acceptRotation });
    const first = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation: first, verifier });
    await target.call(target.caller, { rotation: `withdraw=${first}`, verifier });
    const second = await target.statement(target.caller, await newKey());
    const answer = acceptRotation === 'auto' ? 'accepted' : 'waiting';
    expect(await target.call(target.caller, { rotation: second, verifier })).toMatchObject({ answer });
    await refused(first, { verifier });
  });

  it('was held back in between until then, and revokes nothing', async () => {
    const first = await target.statement(target.caller, next);
    const held = await requestOf(target.caller, { rotation: first });
    await target.call(target.caller, { rotation: `withdraw=${first}` });
    await target.call(target.caller, { rotation: await target.statement(target.caller, await newKey()) });
    const headers = { 'authmesh-rotation': 'refused' };
    expect(await target.verifier.verify(held)).toMatchObject({ ok: true, headers });
    await refused(first);
  });

  it('was refused by an administrator, and revokes nothing', async () => {
    const first = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation: first });
    await target.trust.update((draft) => refuseSuccessor(draft, target.caller.deviceId, now()));
    await target.call(target.caller, { rotation: await target.statement(target.caller, await newKey()) });
    await refused(first);
  });

  it('was refused long ago, and is taken back later: revokes nothing', async () => {
    const first = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation: first });
    await target.trust.update((draft) => refuseSuccessor(draft, target.caller.deviceId, now()));
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + DAY_MS });
    const verifier = target.verifierWith();
    const held = await requestOf(target.caller, { rotation: first });
    await target.call(target.caller, { rotation: `withdraw=${first}`, verifier });
    const rotation = await target.statement(target.caller, await newKey());
    await target.call(target.caller, { rotation, verifier });
    const headers = { 'authmesh-rotation': 'refused' };
    expect(await verifier.verify(held)).toMatchObject({ ok: true, headers });
    await refused(first, { verifier });
  });

  it('is taken back again and again by a thief who has named another key: that ends the device all the same', async () => {
    const first = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation: `withdraw=${first}` });
    const thief = await newKey();
    await target.call(target.caller, { rotation: await target.statement(target.caller, thief) });
    const startMs = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now: startMs });
    for (const minutes of [6, 12, 18]) {
      vi.setSystemTime(startMs + minutes * 60_000);
      const rotation = `withdraw=${first}`;
      await target.call(target.caller, { rotation, verifier: target.verifierWith() });
    }
    const verifier = target.verifierWith();
    await target.call(target.caller, { rotation: first, verifier });
    for (const key of [target.caller, thief])
      expect(await target.call(key, { verifier })).toEqual({ code: 'unknown_device' });
    expect(told('was revoked with all its keys')).toHaveLength(1);
  });

  it('comes once more long after it was taken back: somebody else signs with the key, which ends the device', async () => {
    const first = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation: `withdraw=${first}` });
    const thief = await newKey();
    await target.call(target.caller, { rotation: await target.statement(target.caller, thief) });
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
    const verifier = target.verifierWith();
    expect(await target.call(target.caller, { rotation: first, verifier })).toMatchObject({
      answer: 'refused',
    });
    for (const key of [target.caller, thief])
      expect(await target.call(key, { verifier })).toEqual({ code: 'unknown_device' });
    expect(told('was revoked with all its keys')).toHaveLength(1);
  });

  it('is refused at first, and judged again later, although nothing in the list has changed', async () => {
    const first = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation: `withdraw=${first}` });
    await target.call(target.caller, { rotation: await target.statement(target.caller, await newKey()) });
    const { device, list, statements } = await fakes();
    let nowMs = Date.now();
    const { trust } = target;
    const update = vi.fn((change: Parameters<typeof trust.update>[0]) => trust.update(change));
    const opened = async () => ({ trust: { update } }) as unknown as Device;
    const log = { once: vi.fn(), seldom: vi.fn() };
    const taker = new RotationTaker({
      accept: 'admin',
      device: opened,
      list: { current: () => list },
      log,
      now: () => nowMs,
    });
    const acceptance = { nonce: '', authority: '', isNamed: true, isDelegate: false, isOwnKey: true };
    const take = () => taker.take({ ...acceptance, device, list, statements, rotation: first });
    for (let i = 0; i < 3; i++) expect(await take()).toEqual({ 'authmesh-rotation': 'refused' });
    expect(update).toHaveBeenCalledTimes(1);
    expect(await target.list()).toHaveLength(2);
    nowMs += 3_600_000;
    expect(await take()).toEqual({ 'authmesh-rotation': 'refused' });
    expect(await target.list()).toEqual([]);
  });

  it('waits since before a cut: only an administrator lets it count', async () => {
    const first = await target.statement(target.caller, next, { nowMs: Date.now() - 5000 });
    await target.call(target.caller, { rotation: first });
    await target.trust.update((draft) => cutKeys(draft, target.caller.deviceId, now()));
    const verifier = target.verifierWith(AUTO);
    expect(await target.call(target.caller, { rotation: first, verifier })).toMatchObject({
      answer: 'waiting',
    });
    expect(await target.call(next, { verifier })).toEqual({ code: 'unknown_device' });
    await accept();
    await settled();
  });

  it.each(['waits', 'was accepted'])(
    'is from before the keys were cut, and revokes nothing: the other one %s',
    async (state) => {
      const verifier = target.verifierWith(AUTO);
      const first = await target.statement(target.caller, next, { nowMs: Date.now() - 5000 });
      const other = await newKey();
      const how = state === 'waits' ? {} : { verifier };
      await target.call(target.caller, { rotation: await target.statement(target.caller, other), ...how });
      const { deviceId } = state === 'waits' ? target.caller : other;
      await target.trust.update((draft) => cutKeys(draft, deviceId, now()));
      await refused(first, how);
    },
  );
});

describe('An instance that cannot change its list', () => {
  it('answers "unavailable" to everything, even to what its owner has accepted', async () => {
    const rotation = await target.statement(target.caller, next);
    await target.call(target.caller, { rotation });
    await accept();
    const dir = join(target.root, 'reader');
    await mkdir(dir, { mode: 0o700 });
    await copyFile(join(target.dir, 'allow_list.json'), join(dir, 'allow_list.json'));
    const { owner } = await target.trust.readHead();
    const verifier = target.verifierWith({ dir, env: { AMESH_OWNER_KEY: owner }, acceptRotation: 'auto' });
    for (const text of [rotation, `withdraw=${next.deviceId}`, `retire=${next.deviceId}`, 'x'])
      expect(await target.call(target.caller, { rotation: text, verifier })).toMatchObject({
        answer: 'unavailable',
        scopes: ['orders:read'],
      });
    expect(await target.call(target.caller, { verifier })).toMatchObject({ answer: undefined });
    expect(await target.call(next, { verifier })).toMatchObject({ formerIds: [target.caller.deviceId] });
  });

  it('is one whose store fails, and its request is still accepted', async () => {
    const { device, list, statements } = await fakes();
    const log = { once: vi.fn(), seldom: vi.fn() };
    const failing = async () => Promise.reject(new Error('the disk is full'));
    const taker = new RotationTaker({ accept: 'auto', device: failing, list: { current: () => list }, log });
    const acceptance = {
      device,
      list,
      statements,
      nonce: '',
      authority: '',
      isNamed: true,
      isDelegate: false,
      isOwnKey: true,
      rotation: await target.statement(target.caller, next),
    };
    expect(await taker.take(acceptance)).toEqual({ 'authmesh-rotation': 'unavailable' });
    expect(log.seldom.mock.calls.flat().join()).toContain('the disk is full');
    expect(taker.take({ ...acceptance, rotation: undefined })).toBeUndefined();
  });

  it('does not keep a text that is too long in place of a statement', async () => {
    await target.add(next, 'in the list already');
    const { device, list, statements } = await fakes();
    const log = { once: vi.fn(), seldom: vi.fn() };
    const taker = new RotationTaker({
      accept: 'auto',
      device: async () => ({ trust: target.trust }) as Device,
      list: { current: () => list },
      log,
    });
    const acceptance = { nonce: '', authority: '', isNamed: true, isDelegate: false, isOwnKey: true };
    const take = (rotation: string) => taker.take({ ...acceptance, device, list, statements, rotation });
    const statement = await target.statement(target.caller, next);
    const refused = () => log.once.mock.calls.filter(([line]) => line.includes('in the list already')).length;
    expect(await take(statement)).toEqual({ 'authmesh-rotation': 'refused' });
    for (let i = 0; i < 1000; i++)
      for (const prefix of ['', 'withdraw='])
        expect(await take(`${prefix}${i}${statement.padStart(1025 - `${i}`.length, 'A')}`)).toEqual({
          'authmesh-rotation': 'refused',
        });
    expect(await take(statement)).toEqual({ 'authmesh-rotation': 'refused' });
    expect(refused()).toBe(1); // what is known about it is still there
  });
});

describe('A device that changes its keys again and again', () => {
  it('may ask for what changes nothing as often as it likes', async () => {
    const { caller } = target;
    const verifier = target.verifierWith();
    const answers = new Set<string | undefined>();
    for (let i = 0; i < 65; i++)
      for (const kind of ['withdraw', 'retire']) {
        const rotation = `${kind}=am_${kind[0]}${String(i).padStart(15, '0')}`;
        answers.add((await target.call(caller, { rotation, verifier })).answer);
      }
    expect([...answers]).toEqual(['refused']);
    expect(lines().filter((line) => line.includes('is no next key of it'))).toHaveLength(64); // it cannot fill the log with new IDs
    const rotation = await target.statement(caller, next);
    expect(await target.call(caller, { rotation, verifier })).toMatchObject({ answer: 'waiting' });
  });

  it('gets "unavailable" after 64 changes, but can still take back what the list knows', async () => {
    const { caller } = target;
    const verifier = target.verifierWith();
    const answers = new Set<string | undefined>();
    for (let i = 0; i < 64; i++) {
      const rotation = `withdraw=${await target.statement(caller, await newKey())}`;
      answers.add((await target.call(caller, { rotation, verifier })).answer);
    }
    expect([...answers]).toEqual(['withdrawn']);
    const rotation = await target.statement(caller, next);
    expect(await target.call(caller, { rotation, verifier })).toMatchObject({ answer: 'unavailable' });
    // Another instance has none of these changes.
    expect(await target.call(caller, { rotation })).toMatchObject({ answer: 'waiting' });
    await vi.waitFor(async () =>
      expect(await target.call(caller, { rotation, verifier })).toMatchObject({ answer: 'waiting' }),
    );
    expect(await target.call(caller, { rotation: `withdraw=${next.deviceId}`, verifier })).toMatchObject({
      answer: 'withdrawn',
    });
    expect(await target.list()).toHaveLength(1);
  });
});
