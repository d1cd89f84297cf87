import { type AllowList, createAllowList } from '@authmesh/sdk/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveList } from '../../src/trust/list/live-list';

/** A source that the tests turn: what it gives, how often it was asked, and when it answers. */
function createSource() {
  const source = {
    stamp: '1',
    loads: 0,
    failure: null as Error | null,
    list: createAllowList({}),
    gate: Promise.resolve(),
  };
  const live = new LiveList(
    async () => {
      source.loads++;
      const { failure, list } = source;
      await source.gate;
      if (failure !== null) throw failure;
      return list;
    },
    () => source.stamp,
  );
  return { source, live };
}

const current = async (live: LiveList): Promise<AllowList | Error> => {
  try {
    return await live.current();
  } catch (error) {
    return error as Error;
  }
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('LiveList', () => {
  it('reads once, and gives the same list without a promise until it has changed', async () => {
    const { source, live } = createSource();
    const first = await live.current();
    vi.advanceTimersByTime(10_000);
    expect(live.current()).toBe(first);
    expect(source.loads).toBe(1);
  });

  it('lets any number of requests wait for one read', async () => {
    const { source, live } = createSource();
    const all = await Promise.all(Array.from({ length: 100 }, () => live.current()));
    expect(new Set(all).size).toBe(1);
    expect(source.loads).toBe(1);
  });

  it('looks for a change after 250 ms, and decides no request on the old list then', async () => {
    const { source, live } = createSource();
    const first = await live.current();
    source.stamp = '2';
    source.list = createAllowList({});
    vi.advanceTimersByTime(249);
    expect(live.current()).toBe(first);
    vi.advanceTimersByTime(1);
    const [one, two] = await Promise.all([live.current(), live.current()]);
    expect([one, two]).toEqual([source.list, source.list]);
    expect(one).not.toBe(first);
    expect(source.loads).toBe(2);
  });

  it('notices a change that came while it was reading', async () => {
    const { source, live } = createSource();
    let open = () => {};
    source.gate = new Promise((resolve) => {
      open = resolve;
    });
    const reading = live.current();
    source.stamp = '2';
    open();
    await reading;
    vi.advanceTimersByTime(250);
    await live.current();
    expect(source.loads).toBe(2);
  });

  it('never returns an old list after a failure', async () => {
    const { source, live } = createSource();
    await live.current();
    source.stamp = '2';
    source.failure = new Error('broken');
    vi.advanceTimersByTime(250);
    for (let i = 0; i < 50; i++) {
      expect(await current(live)).toBe(source.failure);
      vi.advanceTimersByTime(100);
    }
  });

  it('does not read at each request while the list is broken', async () => {
    const { source, live } = createSource();
    source.failure = new Error('broken');
    for (let i = 0; i < 1000; i++) expect(await current(live)).toBe(source.failure);
    expect(source.loads).toBe(1);
    vi.advanceTimersByTime(250);
    for (let i = 0; i < 1000; i++) expect(await current(live)).toBe(source.failure);
    expect(source.loads).toBe(2);
  });

  it('works again 250 ms after the list does, even if its stamp is the old one', async () => {
    const { source, live } = createSource();
    source.failure = new Error('broken');
    await current(live);
    source.failure = null;
    vi.advanceTimersByTime(250);
    expect(await current(live)).toBe(source.list);
  });

  it('looks again for a missing page even if the stamp is the same, and keeps a complete list', async () => {
    const { source, live } = createSource();
    const whole = source.list;
    source.list = Object.assign(createAllowList({}), { isWhole: false });
    expect(await live.current()).toBe(source.list);
    vi.advanceTimersByTime(249);
    expect(live.current()).toBe(source.list);
    vi.advanceTimersByTime(1);
    source.list = whole;
    expect(await live.current()).toBe(whole);
    vi.advanceTimersByTime(10_000);
    expect(live.current()).toBe(whole);
    expect(source.loads).toBe(2);
  });

  it('keeps looking when the wall clock is set back', async () => {
    const { source, live } = createSource();
    await live.current();
    vi.setSystemTime(Date.now() - 365 * 86_400_000);
    source.stamp = '2';
    vi.advanceTimersByTime(250);
    await live.current();
    expect(source.loads).toBe(2);
  });
});
