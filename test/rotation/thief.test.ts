import { revokeDevice } from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { acceptSuccessor } from '../../src/trust/rotation/successor';
import { callsOf } from '../support/calls-of';
import { type Key, newKey, type RotatingTarget, requestOf, rotatingTarget } from '../support/rotating';

const now = () => Math.floor(Date.now() / 1000);

let one: RotatingTarget;
let other: RotatingTarget;
let owner: Key;
let thief: Key;
let logged: ReturnType<typeof vi.spyOn>;
beforeEach(async () => {
  logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
  [one, other] = await Promise.all([rotatingTarget(), rotatingTarget()]);
  owner = one.caller;
  await other.add(owner, 'laptop', ['orders:read']);
  thief = await newKey();
});
afterEach(async () => {
  logged.mockRestore();
  await Promise.all([one, other].map((target) => target.remove()));
});

const told = (text: string) =>
  callsOf(logged)
    .map(([line]: unknown[]) => String(line))
    .filter((line: string) => line.includes(text));

/** What a thief gets who can use the key of the owner for a moment: a statement about a key of its own, and one request. */
async function stolen(at: RotatingTarget) {
  const rotation = await at.statement(owner, thief);
  return { rotation, request: await requestOf(owner, { rotation }) };
}

describe('A thief who could use a key for a moment', () => {
  it('gains nothing before an administrator says yes, and is seen', async () => {
    const { request } = await stolen(one);
    expect(await one.verifier.verify(request)).toMatchObject({
      ok: true,
      headers: { 'authmesh-rotation': 'waiting' },
    });
    expect(told(`asks to replace its key with ${thief.deviceId}, which waits until you decide`)).toHaveLength(
      1,
    );
    for (const target of [one, other]) {
      expect(await target.call(thief)).toEqual({ code: 'unknown_device' });
      expect((await target.call(owner)).scopes).toEqual(['orders:read']);
    }
    expect(await one.verifier.verify({ ...request })).toMatchObject({ ok: false, code: 'replay_detected' });
  });

  it('loses a key that was accepted by mistake, once the owner takes it back', async () => {
    const { request, rotation } = await stolen(one);
    await one.verifier.verify(request);
    await one.trust.update((draft) => acceptSuccessor(draft, owner.deviceId, now()));
    await vi.waitFor(async () => expect((await one.call(thief)).code).toBeUndefined());
    // The thief ends the use of the former key at once, if it has a signature left for that.
    expect(await one.call(owner, { rotation: `retire=${thief.deviceId}` })).toMatchObject({
      answer: 'accepted',
    });
    expect(await one.call(owner, { rotation: `withdraw=${thief.deviceId}` })).toMatchObject({
      answer: 'withdrawn',
    });
    expect(await one.call(thief)).toEqual({ code: 'unknown_device' });
    expect(await one.call(thief, { rotation })).toEqual({ code: 'unknown_device' });
    const next = await newKey();
    expect(await one.call(owner, { rotation: await one.statement(owner, next) })).toMatchObject({
      answer: 'waiting',
    });
  });

  it('who is the first at one target ends the device there, and nowhere else', async () => {
    const { request } = await stolen(one);
    await one.verifier.verify(request);
    const next = await newKey();
    const answers = [];
    for (const target of [one, other])
      answers.push((await target.call(owner, { rotation: await target.statement(owner, next) })).answer);
    expect(answers).toEqual(['refused', 'waiting']);
    for (const key of [owner, thief, next]) expect(await one.call(key)).toEqual({ code: 'unknown_device' });
    expect(told('was revoked with all its keys')).toHaveLength(1);
    await other.trust.update((draft) => acceptSuccessor(draft, owner.deviceId, now()));
    await vi.waitFor(async () =>
      expect(await other.call(next)).toMatchObject({ formerIds: [owner.deviceId], scopes: ['orders:read'] }),
    );
    expect(await other.call(thief)).toEqual({ code: 'unknown_device' });
  });

  it('cannot use a statement for one target at another one', async () => {
    const { rotation } = await stolen(one);
    expect(await other.call(owner, { rotation })).toMatchObject({ answer: 'refused' });
    expect(await other.call(owner)).toMatchObject({ scopes: ['orders:read'] });
  });

  it('cannot bring back a device that was revoked', async () => {
    const verifier = one.verifierWith({ acceptRotation: 'auto' }); // it refuses requests that were made before it
    const { rotation, request } = await stolen(one);
    await one.trust.update((draft) => revokeDevice(draft, owner.deviceId, now()));
    expect(await verifier.verify(request)).toMatchObject({ ok: false, code: 'unknown_device' });
    expect(await one.call(thief, { rotation, verifier })).toEqual({ code: 'unknown_device' });
    expect(await one.list()).toEqual([]);
  });
});
