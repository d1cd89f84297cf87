import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { counted, gatherCalls, together } from '../../src/core/gather/gather';
import { eachByItself } from '../support/each-by-itself';

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);
const three = (...names: string[]) => names.flatMap((name) => upTo(3).map((n) => `${name} ${n}`));

describe('requests', () => {
  it('are verified after all of the turn have come, and then continue one by one', async () => {
    const events: string[] = [];
    await eachByItself(upTo(3), async (n) => {
      events.push(`comes ${n}`);
      await together(async () => void events.push(`is verified ${n}`));
      for (const step of ['handled', 'answered', 'over']) {
        events.push(`${step} ${n}`);
        await undefined;
        await new Promise<void>((resolve) => process.nextTick(resolve));
      }
    });
    const alone = upTo(3).flatMap((n) => ['handled', 'answered', 'over'].map((step) => `${step} ${n}`));
    expect(events).toEqual([...three('comes', 'is verified'), ...alone]);
  });

  it('do not wait for more than sixteen, so that none is left over', async () => {
    let come = 0;
    const seen = await eachByItself(upTo(35), () => {
      come++;
      return together(async () => come);
    });
    expect(seen).toEqual(upTo(35).map((i) => [16, 32, 35][Math.floor(i / 16)]));
  });

  it('continue before the next ones are read', async () => {
    const events: string[] = [];
    const later = new Promise<void>((resolve) => {
      // After the next turn. A timer of this turn may be due before it, if the machine is slow.
      setImmediate(() => setImmediate(() => setTimeout(() => resolve(void events.push('later')))));
    });
    await eachByItself(upTo(3), (n) => together(async () => n).then(() => void events.push('continues')));
    await later;
    expect(events).toEqual(['continues', 'continues', 'continues', 'later']);
  });

  it('fail by themselves', async () => {
    const fails = together(() => Promise.reject(new Error('of the store')));
    const passes = together(async () => 1);
    await expect(fails).rejects.toThrow('of the store');
    expect(await passes).toBe(1);
  });
});

it('calls continue sixteen at a time, so that other work runs in between', async () => {
  let turn = 0;
  const count = () => {
    turn++;
    if (turn < 10) setImmediate(count);
  };
  setImmediate(count);
  const turns = await Promise.all(
    upTo(35).map(() =>
      counted(async () => {
        await undefined; // as in a client, all have begun by now
        await gatherCalls();
        return turn;
      }),
    ),
  );
  const first = turns[0] as number;
  expect(turns).toEqual(upTo(35).map((i) => first + Math.floor(i / 16)));
});

it('a call that is the only one waits for nobody, also after others have failed', async () => {
  await Promise.allSettled(upTo(3).map(() => counted(() => Promise.reject(new Error('no answer')))));
  await counted(async () => expect(gatherCalls()).toBeUndefined());
  await Promise.all([
    counted(async () => expect(gatherCalls()).toBeUndefined()),
    counted(async () => expect(gatherCalls()).toBeInstanceOf(Promise)),
  ]);
});

/** Beside another call. */
const besides = <T>(call: () => Promise<T>): Promise<T> => counted(() => counted(async () => call()));

describe.each([
  { who: 'requests', wait: () => together(async () => {}) },
  { who: 'calls', wait: () => besides(async () => gatherCalls()) },
])('$who', ({ wait }) => {
  it('continue although the clock of a test stands still', async () => {
    vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout'] });
    await wait();
  });

  it('keep what they have in AsyncLocalStorage', async () => {
    const storage = new AsyncLocalStorage<number>();
    const seen = await eachByItself(upTo(3), (n) =>
      storage.run(n, async () => {
        await wait();
        return storage.getStore();
      }),
    );
    expect(seen).toEqual(upTo(3));
  });
});

it.each([
  ['fake timers were there first', () => void vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout'] })],
  ['there is no setImmediate, as with jsdom in Jest', () => void vi.stubGlobal('setImmediate', undefined)],
  ['setImmediate does nothing', () => void vi.stubGlobal('setImmediate', () => {})],
])('nobody waits if %s', async (_, prepare) => {
  prepare();
  vi.resetModules();
  const fresh = await import('../../src/core/gather/gather');
  expect(await fresh.together(async () => 1)).toBe(1);
  await fresh.counted(() => fresh.counted(async () => expect(fresh.gatherCalls()).toBeUndefined()));
});
