import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { gatherAnswers, gatherCalls, gatherRequests } from '../../src/core/gather/gather';
import { eachByItself } from '../support/each-by-itself';

afterEach(() => {
  vi.useRealTimers();
});

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);
const three = (...names: string[]) => names.flatMap((name) => upTo(3).map((n) => `${name} ${n}`));

describe.each([
  { name: 'requests', gather: gatherRequests },
  { name: 'calls', gather: gatherCalls },
])('$name', ({ gather }) => {
  it('continue after all of the turn have come', async () => {
    const events: string[] = [];
    await eachByItself(upTo(3), async (n) => {
      events.push(`comes ${n}`);
      await gather();
      events.push(`continues ${n}`);
    });
    expect(events).toEqual(three('comes', 'continues'));
  });

  it('continue although the clock of a test stands still', async () => {
    vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout'] });
    await gather();
  });

  it('keep what they have in AsyncLocalStorage', async () => {
    const storage = new AsyncLocalStorage<number>();
    const seen = await eachByItself(upTo(3), (n) =>
      storage.run(n, async () => {
        await gather();
        return storage.getStore();
      }),
    );
    expect(seen).toEqual(upTo(3));
  });
});

it('requests do not wait for more than sixteen, so that none is left over', async () => {
  let come = 0;
  const seen = await eachByItself(upTo(35), async () => {
    come++;
    await gatherRequests();
    return come;
  });
  expect(seen).toEqual(upTo(35).map((i) => [16, 32, 35][Math.floor(i / 16)]));
});

it('calls continue sixteen at a time, so that other work runs in between', async () => {
  let turn = 0;
  const count = () => {
    turn++;
    if (turn < 10) setImmediate(count);
  };
  setImmediate(count);
  const turns = await Promise.all(upTo(35).map(() => gatherCalls().then(() => turn)));
  const first = turns[0] as number;
  expect(turns).toEqual(upTo(35).map((i) => first + Math.floor(i / 16)));
});

describe('answers', () => {
  it('are signed after those of all requests that came together', async () => {
    const events: string[] = [];
    await eachByItself(upTo(3), async (n) => {
      await gatherRequests();
      events.push(`answers ${n}`);
      await gatherAnswers();
      events.push(`signs ${n}`);
    });
    expect(events).toEqual(three('answers', 'signs'));
  });

  it('do not wait if the last request came alone', async () => {
    await eachByItself([1, 2], gatherRequests);
    expect(gatherAnswers()).toBeInstanceOf(Promise);
    await gatherRequests();
    expect(gatherAnswers()).toBeUndefined();
  });
});

it('does without setImmediate, which the environment jsdom of Jest does not have', async () => {
  vi.stubGlobal('setImmediate', undefined);
  vi.resetModules();
  const fresh = await import('../../src/core/gather/gather');
  vi.unstubAllGlobals();
  await fresh.gatherRequests();
  await fresh.gatherCalls();
});
