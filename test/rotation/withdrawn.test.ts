import { addDevice, revokeDevice } from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { toBase64Url } from '../../src/core/encoding';
import { callsOf } from '../support/calls-of';
import { type Key, newKey, type RotatingTarget, rotatingTarget } from '../support/rotating';
import { LENT, workerOf } from '../support/statements';

/** What a target answers to a withdrawal: `withdrawn` only if the next key may not call. */
const AUTO = { acceptRotation: 'auto' } as const;
const now = () => Math.floor(Date.now() / 1000);

let target: RotatingTarget;
let owner: Key;
let logged: ReturnType<typeof vi.spyOn>;
beforeEach(async () => {
  logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
  target = await rotatingTarget();
  owner = target.caller;
});
afterEach(async () => {
  vi.useRealTimers();
  logged.mockRestore();
  await target.remove();
});

const told = (text: string) =>
  callsOf(logged)
    .map(([line]: unknown[]) => String(line))
    .filter((line: string) => line.includes(text));
const answerTo = async (by: Parameters<RotatingTarget['call']>[0], rotation: string, how = {}) =>
  (await target.call(by, { rotation, ...how })).answer;
const codeOf = async (by: Key, how = {}) => (await target.call(by, how)).code;

describe('A thief who has replaced the key more than once', () => {
  /** The keys of the thief, each of which has replaced the one before. */
  async function stolen(count: number, last: 'auto' | 'admin' = 'auto') {
    const verifier = target.verifierWith(AUTO);
    const keys: Key[] = [];
    for (let i = 0; i < count; i++) {
      const [former, next] = [keys.at(-1) ?? owner, await newKey()];
      const by = i === count - 1 && last === 'admin' ? target.verifierWith() : verifier;
      const answer = last === 'admin' && i === count - 1 ? 'waiting' : 'accepted';
      expect(await answerTo(former, await target.statement(former, next), { verifier: by })).toBe(answer);
      keys.push(next);
    }
    return { keys, verifier };
  }

  it.each([0, 1, 2])('loses all keys, whichever of them the owner names (%i)', async (which) => {
    const { keys, verifier } = await stolen(3);
    for (const key of keys) expect(await codeOf(key, { verifier })).toBeUndefined();
    const { deviceId } = keys[which] as Key;
    expect(await answerTo(owner, `withdraw=${deviceId}`, { verifier })).toBe('withdrawn');
    for (const key of keys) expect(await codeOf(key, { verifier })).toBe('unknown_device');
    expect((await target.call(owner, { verifier })).scopes).toEqual(['orders:read']);
    expect(await target.list()).toMatchObject([{ deviceId: owner.deviceId }]);
    expect(told(`withdrew its next key ${deviceId}`)).toHaveLength(1);
  });

  it('loses them also if the owner names the one that waits', async () => {
    const { keys, verifier } = await stolen(2, 'admin');
    expect(await answerTo(owner, `withdraw=${keys[1]?.deviceId}`, { verifier })).toBe('withdrawn');
    for (const key of keys) expect(await codeOf(key, { verifier })).toBe('unknown_device');
    expect(await target.list()).toMatchObject([{ deviceId: owner.deviceId }]);
  });

  it('cannot keep the owner from that with many changes', async () => {
    const { keys, verifier } = await stolen(2);
    for (let i = 0; i < 62; i++)
      expect(
        await answerTo(owner, `withdraw=${await target.statement(owner, await newKey())}`, { verifier }),
      ).toBe('withdrawn');
    const [, last] = keys as [Key, Key];
    expect(await answerTo(last, await target.statement(last, await newKey()), { verifier })).toBe(
      'unavailable',
    );
    expect(await answerTo(owner, `withdraw=${last.deviceId}`, { verifier })).toBe('withdrawn');
  });

  it('cannot take back a key that comes before its own', async () => {
    const { keys, verifier } = await stolen(3);
    const [first, second, third] = keys as [Key, Key, Key];
    for (const [by, named] of [
      [second, first],
      [second, second],
      [third, second],
      [second, owner],
      [owner, owner],
    ] as const)
      expect(await answerTo(by, `withdraw=${named.deviceId}`, { verifier })).toBe('refused');
    for (const key of [owner, ...keys]) expect(await codeOf(key, { verifier })).toBeUndefined();
  });

  it('is not touched by another device that names its key', async () => {
    const { keys, verifier } = await stolen(2);
    const other = await newKey();
    await target.add(other, 'other');
    for (const { deviceId } of keys)
      expect(await answerTo(other, `withdraw=${deviceId}`, { verifier })).toBe('refused');
    for (const key of keys) expect(await codeOf(key, { verifier })).toBeUndefined();
  });
});

describe('A next key that an administrator has added as a device of its own', () => {
  async function added() {
    const next = await newKey();
    const statement = await target.statement(owner, next);
    expect(await answerTo(owner, statement)).toBe('waiting');
    const publicKey = toBase64Url(next.publicKey);
    const device = { deviceId: next.deviceId, publicKey, friendlyName: 'laptop', hosts: [] };
    await target.trust.update((draft) => addDevice(draft, { ...device, role: 'controller' }, now()));
    await vi.waitFor(async () => expect(await codeOf(next)).toBeUndefined());
    return { next, statement };
  }

  it('counts, so the target says that to a withdrawal, until it is revoked there', async () => {
    const { next, statement } = await added();
    expect(await answerTo(owner, `withdraw=${statement}`)).toBe('accepted');
    expect(await codeOf(next)).toBeUndefined();
    expect(told(`amesh revoke ${next.deviceId}`)).toHaveLength(1);
    for (let i = 0; i < 70; i++) expect(await answerTo(owner, `withdraw=${statement}`)).toBe('accepted');
    await target.trust.update((draft) => revokeDevice(draft, next.deviceId, now()));
    await vi.waitFor(async () => expect(await codeOf(next)).toBe('unknown_device'));
    expect(await answerTo(owner, `withdraw=${statement}`)).toBe('withdrawn');
  });

  it('is not withdrawn by its ID: then the target does not even say that it has it', async () => {
    const { next } = await added();
    expect(await answerTo(owner, `withdraw=${next.deviceId}`)).toBe('refused');
    expect(await answerTo(owner, `withdraw=${(await newKey()).deviceId}`)).toBe('refused');
    expect(await codeOf(next)).toBeUndefined();
  });
});

describe('A withdrawal that changes nothing', () => {
  it('is not answered with "withdrawn" if it is not valid', async () => {
    const verifier = target.verifierWith(AUTO, { delegates: true });
    const next = await newKey();
    const statement = await target.statement(owner, next);
    expect(await answerTo(owner, statement, { verifier })).toBe('accepted');
    const other = await newKey();
    await target.add(other, 'other');
    const about = { deviceId: owner.deviceId, issuedAt: now() - 300, expiresAt: now() + 600 };
    const { signer: worker } = await workerOf(about, owner);
    const delegation = { ...LENT, targets: [target.deviceId] };
    const { signer: delegate } = await workerOf({ ...about, delegation }, owner);
    const sent: [by: Parameters<RotatingTarget['call']>[0], text: string][] = [
      [owner, 'withdraw='],
      [owner, 'withdraw=laptop'],
      [owner, `withdraw=${statement.slice(0, -1)}`],
      [owner, `withdraw=${await target.statement(other, next)}`],
      [owner, `withdraw=${await target.statement(owner, next, { targetId: other.deviceId })}`],
      [worker, `withdraw=${statement}`],
      [worker, `withdraw=${next.deviceId}`],
      [delegate, `withdraw=${statement}`],
      [delegate, `withdraw=${next.deviceId}`],
    ];
    for (const [by, text] of sent)
      expect([text, await answerTo(by, text, { verifier })]).toEqual([text, 'refused']);
    expect(await codeOf(next, { verifier })).toBeUndefined();
  });

  it('says "withdrawn" once more after one that was carried out, and for a statement that never came', async () => {
    const next = await newKey();
    const statement = await target.statement(owner, next);
    await answerTo(owner, statement);
    for (const text of [`withdraw=${next.deviceId}`, `withdraw=${next.deviceId}`, `withdraw=${statement}`])
      expect(await answerTo(owner, text)).toBe('withdrawn');
    const held = await target.statement(owner, await newKey());
    expect(await answerTo(owner, `withdraw=${held}`)).toBe('withdrawn');
    expect(await answerTo(owner, held)).toBe('refused');
  });

  it('is named in the log if the device has no such next key', async () => {
    const { deviceId } = await newKey();
    expect(await answerTo(owner, `withdraw=${deviceId}`)).toBe('refused');
    expect(told(`${deviceId}, which is no next key of it`)).toHaveLength(1);
  });
});
