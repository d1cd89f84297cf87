import { createAmesh } from '@authmesh/sdk';
import { allowScopes, openDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { forget, type Start, useBetween } from './between';
import { noteOf } from './targets';

// What somebody between a caller and its target can do to a rotation by refusals that nobody has proven.

const start = useBetween();

const FORGED = ['unauthorized', 'device_expired'];
const CALLERS: [string, Omit<Start, 'state'>][] = [
  ['a caller that asks for no proofs', { options: { answers: 'off' } }],
  ['a caller whose target can prove nothing', { proves: false }],
  ['a caller that asks for proofs', {}],
];

describe.each(CALLERS)('over plain http, a forged refusal to %s', (_who, how) => {
  it.each(FORGED)('%s: the next key continues, and stays accepted', async (code) => {
    const { between, call, came, stateNow } = await start({ ...how, state: 'accepted' });
    between.forges = code;
    for (const method of ['GET', 'POST']) expect(await call({ method })).not.toBe(200);
    between.forges = '';
    for (const method of ['GET', 'POST']) expect(await call({ method })).toBe(200);
    expect(came()).toEqual(['200 next', '200 next']);
    await new Promise((resolve) => setTimeout(resolve, 50)); // until it would be written
    expect(await stateNow()).toMatchObject({ state: 'accepted', isProven: true });
  });

  it.each(FORGED)('%s: the former key continues', async (code) => {
    const { between, call, came, stateNow, target } = await start({ ...how, state: 'waiting' });
    target.answer = 'waiting';
    between.forges = code;
    for (const method of ['GET', 'POST']) expect(await call({ method })).not.toBe(200);
    between.forges = '';
    for (const method of ['GET', 'POST']) expect(await call({ method })).toBe(200);
    expect(came()).toEqual(['200 former', '200 former']);
    expect(await stateNow()).toMatchObject({ state: 'waiting', isProven: true });
  });

  it.each(['accepted', 'waiting'] as const)('that a program reports moves nothing: %s', async (state) => {
    const { amesh, between, target, call, came } = await start({ ...how, state });
    target.answer = state;
    between.forges = 'unauthorized';
    const { answered } = await amesh.sign({ url: target.url });
    const headers = { 'www-authenticate': 'AuthMesh error="unauthorized"' };
    expect((await answered({ status: 401, headers })).again).toBe(false);
    between.forges = '';
    expect(await call()).toBe(200);
    expect(came()).toEqual([state === 'accepted' ? '200 next' : '200 former']);
  });
});

describe('over plain http, a caller that asks for no proofs, whose target really refuses a key', () => {
  const how = { options: { answers: 'off' } } as const;

  it('gets a proof for the other key with a request of its own, and sends a safe request again', async () => {
    const started = await start({ ...how, state: 'accepted' });
    const { call, came, stateNow, target } = started;
    target.answer = 'waiting';
    await forget(started, 'next');
    expect(await call()).toBe(200);
    expect(came()).toEqual(['401 next', '200 former', '200 former']);
    await expect.poll(stateNow).toMatchObject({ state: 'waiting', isProven: true });
    expect(await call({ method: 'POST' })).toBe(200);
  });

  it('gets the refusal of a POST, and the next one is signed by the other key', async () => {
    const started = await start({ ...how, state: 'waiting' });
    const { call, came, stateNow, target, rotating } = started;
    await target.know(rotating.identity);
    await forget(started, 'former');
    expect(await call({ method: 'POST' })).toBe(401);
    expect(await call({ method: 'POST' })).toBe(200);
    expect(came()).toEqual(['401 former', '200 next', '200 next']);
    await expect.poll(stateNow).toMatchObject({ state: 'accepted', isProven: true });
  });

  it('and a program that sends by itself is told to sign a GET again, and no POST', async () => {
    const started = await start({ ...how, state: 'waiting' });
    const { amesh, target, rotating, came } = started;
    await target.know(rotating.identity);
    await forget(started, 'former');
    const headers = { 'www-authenticate': 'AuthMesh error="unauthorized"' };
    for (const [method, again] of [
      ['POST', false],
      ['GET', true],
    ] as const) {
      const fresh = createAmesh({
        ...how.options,
        dir: started.dir,
        env: {},
        fetch: started.fetch,
      });
      const { answered } = await fresh.sign({ url: target.url, method });
      await noteOf(started.dir, target, { state: 'waiting', isProven: true, at: 0 });
      expect([method, (await answered({ status: 401, headers })).again]).toEqual([method, again]);
    }
    expect(came()).toEqual(['200 next', '200 next']);
    expect((await amesh.sign({ url: target.url })).headers).toBeDefined();
  });
});

it('over plain http, a proven end of the device is no reason to ask with the other key', async () => {
  const { call, came, target, rotating } = await start({ state: 'accepted' });
  const { deviceId } = rotating.identity;
  await target.device.trust.update((draft) => allowScopes(draft, deviceId, ['a:b'], 1)); // it ends long ago
  await new Promise((resolve) => setTimeout(resolve, 300)); // the server looks at its list at most so late
  expect([await call(), await call()]).toEqual([401, 401]);
  expect(came()).toEqual(['401 next', '401 next']);
});

it('over plain http, the log says what to do about a target that refuses a key and can prove nothing', async () => {
  const started = await start({ proves: false, state: 'waiting' });
  const { call, logged, target, rotating } = started;
  await target.know(rotating.identity);
  await forget(started, 'former');
  expect([await call(), await call()]).toEqual([401, 401]);
  expect(logged.mock.calls.flat()).toContainEqual(expect.stringContaining('amesh rotate finish --force'));
  expect((await openDevice(started.dir, {})).identity.deviceId).toBe(rotating.identity.deviceId);
});
