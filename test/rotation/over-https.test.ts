import {
  finishRotation,
  openDevice,
  type ToldTarget,
  tellTargets,
  withdrawRotation,
} from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { noteAnswers } from '../../src/machine/rotation/change-rotation';
import { type Between, forget, type Start, useBetween } from './between';
import { noteOf } from './targets';

// A target behind TLS that has ended the former key of its caller, and knows the next one.

const start = useBetween();

async function ended(how: Partial<Start> = {}): Promise<Between> {
  const started = await start({ isTls: true, state: 'waiting', ...how });
  await started.target.know(started.rotating.identity);
  await forget(started, 'former');
  return started;
}

const finish = async ({ dir }: Between) => finishRotation(await openDevice(dir, {}), {});

describe('a caller whose former key a target refuses over https', () => {
  it.each(['GET', 'POST'])(
    'notes that the next one is accepted, once the answer proves it: %s',
    async (method) => {
      const started = await ended();
      const { call, came, asked, stateNow } = started;
      expect(await call({ method })).toBe(200);
      expect(came()).toEqual(['401 former', '200 next']);
      await expect.poll(stateNow).toMatchObject({ state: 'accepted', isProven: true });
      expect(await call({ method })).toBe(200);
      expect(asked.slice(1)).toEqual([true, false]); // once is enough
      expect((await finish(started)).left).toEqual([]);
    },
  );

  it('notes that for a program that sends by itself', async () => {
    const { amesh, target, fetch, stateNow } = await ended();
    for (const again of [true, false]) {
      const { url, headers, answered } = await amesh.sign({ url: target.url });
      expect((await answered(await fetch(url, { headers: headers as [string, string][] }))).again).toBe(
        again,
      );
    }
    await expect.poll(stateNow).toMatchObject({ state: 'accepted', isProven: true });
  });

  it('needs the proof to finish, except for a target that can prove nothing', async () => {
    for (const [how, isFinished] of [
      [{ strips: true }, false],
      [{ options: { answers: 'off' } }, false],
      [{ proves: false }, true],
    ] as const) {
      const started = await ended(how);
      const { dir, target, call, came, stateNow } = started;
      await noteOf(dir, target, { state: 'untold', isProven: false });
      expect([await call(), await call()]).toEqual([200, 200]);
      expect(came().slice(-2)).toEqual(['200 next', '200 next']);
      await expect.poll(stateNow).toMatchObject({ state: 'accepted', isProven: false });
      if (isFinished) expect((await finish(started)).left).toEqual([]);
      else await expect(finish(started)).rejects.toMatchObject({ code: 'rotation_unfinished' });
    }
  });

  it('and whose next key it refuses, too, notes nothing', async () => {
    const started = await ended();
    const { call, stateNow } = started;
    await forget(started, 'next');
    expect(await call()).toBe(401);
    await new Promise((resolve) => setTimeout(resolve, 50)); // until it would be written
    expect(await stateNow()).toMatchObject({ state: expect.not.stringMatching('accepted') });
    await expect(finish(started)).rejects.toMatchObject({ code: 'rotation_unfinished' });
  });
});

describe('a target whose instances only verify, and prove nothing', () => {
  async function unable(how: Partial<Start> = {}) {
    const started = await start({ isTls: true, proves: false, state: 'waiting', ...how });
    const { dir, target, rotating, fetch } = started;
    await noteOf(dir, target, { state: 'untold', isProven: false });
    target.answer = 'unavailable';
    const tell = async (sent: typeof globalThis.fetch = fetch) => {
      const urls = [new URL(target.url)];
      return tellTargets(await openDevice(dir, {}), rotating.rotation, 'rotate', urls, {}, { fetch: sent });
    };
    return { ...started, tell };
  }

  it.each([{ isTls: true }, { isTls: false, name: '127.0.0.1' }])(
    'is believed over https and loopback that it accepts the next key, once an administrator has added that: %j',
    async (how) => {
      const started = await unable(how);
      const { tell, target, rotating, stateNow } = started;
      expect(await tell()).toMatchObject([{ answer: 'unavailable' }]);
      expect(await stateNow()).toMatchObject({ state: 'untold' });
      await target.know(rotating.identity);
      await expect.poll(() => tell()).toMatchObject([{ answer: 'accepted', isProven: false, status: 200 }]);
      expect(await stateNow()).toMatchObject({ state: 'accepted', isProven: false });
      expect((await finish(started)).left).toEqual([]);
    },
  );

  it('is believed also after it has revoked the former key', async () => {
    const started = await unable();
    await started.target.know(started.rotating.identity);
    await forget(started, 'former');
    await expect
      .poll(() => started.tell())
      .toMatchObject([{ answer: 'accepted', isProven: false, status: 200 }]);
  });

  it('is not believed over plain http, where anybody could have written that', async () => {
    const { tell, target, rotating, stateNow, ...started } = await unable({ isTls: false });
    await target.know(rotating.identity);
    expect(await tell()).toMatchObject([{ answer: null }]);
    expect(await stateNow()).toMatchObject({ state: 'untold' });
    await expect(finish({ ...started, target, rotating, stateNow })).rejects.toMatchObject({
      code: 'rotation_unfinished',
    });
  });

  it.each([404, 502])(
    'has said nothing if the next key gets %i: a proxy may have answered',
    async (status) => {
      const { tell, fetch, stateNow, target, rotating } = await unable();
      await target.know(rotating.identity);
      let count = 0;
      const failing: typeof fetch = async (input, init) => {
        const response = await fetch(input, init);
        return count++ === 0 ? response : new Response('', { status });
      };
      expect(await tell(failing)).toMatchObject([{ answer: 'unavailable' }]);
      expect(await stateNow()).toMatchObject({ state: 'untold' });
    },
  );

  it('has said nothing if nothing shows that it verifies requests at this URL', async () => {
    const { tell, stateNow } = await unable();
    let count = 0;
    const failing: typeof fetch = async () => {
      if (count++ === 0) throw new TypeError('The connection was closed.');
      return new Response('public');
    };
    expect(await tell(failing)).toMatchObject([{ answer: null }]);
    expect(await tell(async () => new Response('public'))).toMatchObject([{ answer: null, status: 200 }]);
    expect(await stateNow()).toMatchObject({ state: 'untold' });
  });
});

it('an answer that comes after the rotation was taken back does not say that the next key is accepted', async () => {
  const started = await start({ state: 'waiting', name: '127.0.0.1' });
  const { dir, target, stateNow } = started;
  await withdrawRotation(await openDevice(dir, {}), {});
  const { store } = await openDevice(dir, {});
  const told = (await stateNow()) as ToldTarget;
  await noteAnswers(
    store,
    new Map([[target.device.identity.deviceId, { ...told, state: 'accepted', isProven: true }]]),
  );
  expect(await stateNow()).toEqual(told);
});
