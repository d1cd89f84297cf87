import { finishRotation, openDevice, type ToldTarget, withdrawRotation } from '@authmesh/sdk/admin';
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
