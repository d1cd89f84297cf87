import { type Amesh, type AmeshOptions, createAmesh } from '@authmesh/sdk';
import { openDevice, type Rotating, readRotationFile, revokeDevice, rotateKey } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createLoopbackDispatcher, fetchWith } from '../support/dispatcher';
import { type Listed, meet, noteOf } from './targets';

// What somebody between a caller and its target can do to a rotation by refusals that nobody has proven.

let dispatcher: Awaited<ReturnType<typeof createLoopbackDispatcher>>;
beforeAll(async () => {
  dispatcher = await createLoopbackDispatcher();
});
afterAll(() => dispatcher.close());

let close = async () => {};
afterEach(async () => {
  vi.restoreAllMocks();
  await close();
});

const FORGED = ['unauthorized', 'device_expired'];
const refusal = (code: string) =>
  new Response('{}', { status: 401, headers: { 'www-authenticate': `AuthMesh error="${code}"` } });

interface Start extends Listed {
  readonly options?: AmeshOptions;
  /** What the folder says of the target. */
  readonly state: 'accepted' | 'waiting';
}

/** A caller that rotates, over plain http to a name that is not loopback, with somebody in between. */
async function start({ options, state, ...listed }: Start) {
  const logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const { dir, caller, target, close: end } = await meet({ name: 'orders.example', ...listed });
  close = end;
  const rotating = await rotateKey(dir, {});
  if (state === 'accepted') await target.know(rotating.identity);
  await noteOf(dir, target, { state, isProven: true, at: 0 });
  const between = { forges: '' };
  const amesh: Amesh = createAmesh({
    dir,
    env: {},
    onRefusal: () => {},
    fetch: (input, init) =>
      between.forges === ''
        ? fetchWith(dispatcher as never)(String(input).replace('https:', 'http:'), init)
        : Promise.resolve(refusal(between.forges)),
    ...options,
  });
  const keyOf = (id: string | undefined) => (id === rotating.rotation.next.deviceId ? 'next' : 'former');
  return {
    dir,
    amesh,
    target,
    between,
    logged,
    rotating,
    /** What came, in order: the status, and which key signed it. */
    came: () => target.received.map(({ status, signedBy }) => `${status} ${keyOf(signedBy)}`),
    call: async (init?: RequestInit) => {
      try {
        return (await amesh.fetch(target.url, init)).status;
      } catch (error) {
        return (error as { code: string }).code;
      }
    },
    stateNow: async () => (await readRotationFile(caller.store))?.targets[target.device.identity.deviceId],
  };
}

const CALLERS: [string, Omit<Start, 'state'>][] = [
  ['a caller that asks for no proofs', { options: { answers: 'off' } }],
  ['a caller whose target can prove nothing', { proves: false }],
  ['a caller that asks for proofs', {}],
];

describe.each(CALLERS)('over plain http, a forged refusal to %s', (_who, how) => {
  it.each(FORGED)('%s: the next key goes on, and stays accepted', async (code) => {
    const { between, call, came, stateNow } = await start({ ...how, state: 'accepted' });
    between.forges = code;
    for (const method of ['GET', 'POST']) expect(await call({ method })).not.toBe(200);
    between.forges = '';
    for (const method of ['GET', 'POST']) expect(await call({ method })).toBe(200);
    expect(came()).toEqual(['200 next', '200 next']);
    await new Promise((resolve) => setTimeout(resolve, 50)); // until it would be written
    expect(await stateNow()).toMatchObject({ state: 'accepted', isProven: true });
  });

  it.each(FORGED)('%s: the former key goes on', async (code) => {
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

/** The target has another list than the folder says. */
const forget = ({ target, rotating }: Awaited<ReturnType<typeof start>>, which: 'former' | 'next') =>
  target.device.trust.update(async (draft) => {
    const { former, next } = (rotating as Rotating).rotation;
    await revokeDevice(draft, (which === 'former' ? former : next).deviceId, 1);
  });

describe('over plain http, a caller that asks for no proofs, whose target refuses a key for certain', () => {
  const how = { options: { answers: 'off' } } as const;

  it('has the other key proven by a request of its own, and sends what has no effect again', async () => {
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
        fetch: fetchWith(dispatcher as never),
      });
      const { answered } = await fresh.sign({ url: target.url, method });
      await noteOf(started.dir, target, { state: 'waiting', isProven: true, at: 0 });
      expect([method, (await answered({ status: 401, headers })).again]).toEqual([method, again]);
    }
    expect(came()).toEqual(['200 next', '200 next']);
    expect((await amesh.sign({ url: target.url })).headers).toBeDefined();
  });
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
