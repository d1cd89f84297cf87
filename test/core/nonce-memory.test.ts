import { InMemoryNonceStore } from '@authmesh/sdk/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { times } from '../support/full';

const nonce = (number: number) => number.toString(36).padStart(22, '0');

function storeWith(options: { capacity?: number } = {}) {
  const clock = { ms: 1_764_000_000_000 };
  return { clock, store: new InMemoryNonceStore({ ...options, now: () => clock.ms }) };
}

describe('InMemoryNonceStore', () => {
  it('accepts a nonce once for each device', () => {
    const { store, clock } = storeWith();
    const until = clock.ms + 60_000;
    expect(store.claim('am_a', nonce(1), until)).toBe(true);
    expect(store.claim('am_a', nonce(1), until)).toBe(false);
    expect(store.claim('am_b', nonce(1), until)).toBe(true);
    expect(store.claim('am_a', nonce(2), until)).toBe(true);
  });

  it('says from when on it remembers', () => {
    expect(new InMemoryNonceStore({ now: () => 1_764_000_000_999 }).startedAt).toBe(1_764_000_000);
    expect(new InMemoryNonceStore({ startedAt: 5 }).startedAt).toBe(5);
  });

  it('refuses when it is full, and forgets nobody', () => {
    const { store, clock } = storeWith({ capacity: 4 });
    const until = clock.ms + 60_000;
    for (const [device, number] of [
      ['a', 1],
      ['a', 2],
      ['b', 3],
      ['b', 4],
    ] as const)
      store.claim(device, nonce(number), until);
    expect(() => store.claim('c', nonce(5), until)).toThrow(
      expect.objectContaining({ code: 'nonce_store_unavailable' }),
    );
    expect(store.claim('a', nonce(1), until)).toBe(false);
    expect(store.claim('b', nonce(4), until)).toBe(false);
  });

  it('gives no device more than half of it', () => {
    const { store, clock } = storeWith({ capacity: 4 });
    const until = clock.ms + 60_000;
    store.claim('a', nonce(1), until);
    store.claim('a', nonce(2), until);
    expect(() => store.claim('a', nonce(3), until)).toThrow(
      expect.objectContaining({ code: 'nonce_store_unavailable' }),
    );
    expect(store.claim('b', nonce(3), until)).toBe(true);
  });

  it('frees the space of nonces that have ended', () => {
    const { store, clock } = storeWith({ capacity: 200 });
    let claimed = 0;
    for (let i = 0; i < 100_000; i++) {
      clock.ms += 2000;
      if (store.claim('a', nonce(i), clock.ms + 60_000)) claimed++;
    }
    expect(claimed).toBe(100_000);
    expect(store.size).toBeLessThan(100);
  });

  it('accepts nothing after the clock was set back into a time that it has forgotten', () => {
    const { store, clock } = storeWith();
    const start = clock.ms;
    const claim = (number: number) => store.claim('a', nonce(number), clock.ms + 60_000);
    expect(claim(1)).toBe(true);
    for (const ahead of [3_600_000, 3_611_000]) {
      clock.ms = start + ahead;
      expect(claim(ahead)).toBe(true);
    }
    for (const back of [15_000, 60_000, -1000]) {
      clock.ms = start + back;
      expect(() => claim(1)).toThrow(
        expect.objectContaining({
          code: 'nonce_store_unavailable',
          message: `The clock was set back to a time whose nonces are forgotten. That time ends at ${new Date(start + 60_000).toISOString()}. Wait until then, or restart: see "A clock that was set back" in docs/protocol.md.`,
        }),
      );
    }
    clock.ms = start + 60_001; // nothing that was claimed at the start could be replayed any more
    expect(claim(2)).toBe(true);
  });

  it('takes its start from a clock that runs, not from one that stands at 0 while modules load', () => {
    const clock = { ms: 0 };
    const store = new InMemoryNonceStore({ now: () => clock.ms });
    clock.ms = 1_764_000_000_500;
    expect(store.startedAt).toBe(1_764_000_000);
    clock.ms += 5000;
    expect(store.startedAt).toBe(1_764_000_000);
  });

  it('never accepts a live nonce twice, whatever the times and devices', () => {
    const step = fc.record({
      wait: fc.oneof(fc.constant(0), fc.nat(30_000)),
      device: fc.constantFrom('a', 'b', 'c'),
      number: fc.nat(5),
      keep: fc.nat(70_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { store, clock } = storeWith();
        const live = new Map<string, number>();
        for (const { wait, device, number, keep } of steps) {
          clock.ms += wait;
          const isNew = store.claim(device, nonce(number), clock.ms + keep);
          const key = `${device} ${number}`;
          if ((live.get(key) ?? 0) > clock.ms) expect(isNew).toBe(false);
          if (isNew) live.set(key, clock.ms + keep);
        }
      }),
      { numRuns: times(100, 500) },
    );
  });

  it.each([{ capacity: 0 }, { capacity: 1.5 }, { capacity: 1e9 }, { startedAt: 1.5 }])(
    'refuses %j',
    (options) => {
      expect(() => new InMemoryNonceStore(options)).toThrow(TypeError);
    },
  );
});
