import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { endOfTick, endOfTurn } from '../../src/core/turn/turn';
import { eachByItself } from '../support/each-by-itself';

afterEach(() => {
  vi.useRealTimers();
});

describe('the end of a turn', () => {
  it('comes after everybody in the turn has begun', async () => {
    const events: string[] = [];
    await eachByItself([1, 2, 3], async (n) => {
      events.push(`begins ${n}`);
      await endOfTurn();
      events.push(`continues ${n}`);
    });
    expect(events).toEqual(['begins', 'continues'].flatMap((what) => [1, 2, 3].map((n) => `${what} ${n}`)));
  });

  it('comes for sixteen at a time, so that other work runs in between', async () => {
    let turn = 0;
    const count = () => {
      turn++;
      if (turn < 10) setImmediate(count);
    };
    setImmediate(count);
    const turns = await Promise.all(Array.from({ length: 35 }, () => endOfTurn().then(() => turn)));
    const first = turns[0] as number;
    expect(turns).toEqual(Array.from({ length: 35 }, (_, i) => first + Math.floor(i / 16)));
  });

  it('comes although the clock of a test stands still', async () => {
    vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout'] });
    await endOfTurn();
  });

  it('keeps apart what each caller has in AsyncLocalStorage', async () => {
    const storage = new AsyncLocalStorage<number>();
    const seen = await eachByItself([1, 2, 3], (n) =>
      storage.run(n, async () => {
        await endOfTurn();
        return storage.getStore();
      }),
    );
    expect(seen).toEqual([1, 2, 3]);
  });
});

describe('the end of a tick', () => {
  it('comes after those who continue together', async () => {
    const events: string[] = [];
    await eachByItself([1, 2, 3], async (n) => {
      await endOfTurn();
      events.push(`answers ${n}`);
      await endOfTick();
      events.push(`signs ${n}`);
    });
    expect(events).toEqual(['answers', 'signs'].flatMap((what) => [1, 2, 3].map((n) => `${what} ${n}`)));
  });

  it('is not waited for by a caller who came alone', async () => {
    await eachByItself([1, 2], endOfTurn);
    expect(endOfTick()).toBeInstanceOf(Promise);
    await endOfTurn();
    expect(endOfTick()).toBeUndefined();
  });
});
