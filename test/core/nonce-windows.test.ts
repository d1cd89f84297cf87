import { createVerifier, InMemoryNonceStore, type NonceStore } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { signed } from '../support/core';
import { vectorAllowList } from '../support/vectors';

/** Verifiers of one target on one store, under a clock that a test sets ahead. */
function verifiersOn(store: NonceStore, clock: { aheadSeconds: number }) {
  const now = () => Date.now() + clock.aheadSeconds * 1000;
  return (clockSkewSeconds: number, nonceWindowSeconds?: number) => {
    const allowList = { ...vectorAllowList, hosts: ['api.example.com'] };
    const verifier = createVerifier({
      ...{ allowList, nonceStore: store, now, clockSkewSeconds, nonceWindowSeconds },
    });
    return async (view: Awaited<ReturnType<typeof signed>>) => {
      const verdict = await verifier.verify({ ...view });
      return verdict.ok ? 'accepted' : verdict.code;
    };
  };
}

const nowSeconds = () => Math.floor(Date.now() / 1000);
const signedNow = () => signed({}, { created: nowSeconds() });

/** A store as its user writes it: it keeps what it has to, and no longer. */
class MapNonceStore implements NonceStore {
  readonly untilMs = new Map<string, number>();

  constructor(readonly now: () => number) {}

  async claim(deviceId: string, nonce: string, keepUntilMs: number): Promise<boolean> {
    for (const [key, until] of this.untilMs) if (until < this.now()) this.untilMs.delete(key);
    const key = `${deviceId} ${nonce}`;
    if (this.untilMs.has(key)) return false;
    this.untilMs.set(key, keepUntilMs);
    return true;
  }
}

const KINDS: [string, (now: () => number) => NonceStore][] = [
  ['InMemoryNonceStore', (now) => new InMemoryNonceStore({ now, startedAt: nowSeconds() - 3600 })],
  ['a store of their own', (now) => new MapNonceStore(now)],
];

describe.each(KINDS)('two verifiers on one %s', (_, make) => {
  function start() {
    const clock = { aheadSeconds: 0 };
    const store = make(() => Date.now() + clock.aheadSeconds * 1000);
    const verifier = verifiersOn(store, clock);
    /** Moves on, with a request each 15 s, as those that make a store drop what is over. */
    const wait = async (seconds: number, other: ReturnType<typeof verifier>) => {
      for (const endsAt = clock.aheadSeconds + seconds; clock.aheadSeconds < endsAt; ) {
        clock.aheadSeconds = Math.min(endsAt, clock.aheadSeconds + 15);
        await other(await signed({}, { created: nowSeconds() + clock.aheadSeconds }));
      }
    };
    return { verifier, wait };
  }

  it.each([
    [30, 300, 140],
    [30, 300, 290],
    [1, 300, 45],
    [30, 60, 55],
  ])(
    'clockSkewSeconds %i and %i: what was accepted at t is a replay at t+%i',
    async (first, second, later) => {
      for (const isReversed of [false, true]) {
        const { verifier, wait } = start();
        const [a, b] = isReversed ? [second, first] : [first, second];
        const made = new Map([a, b].map((skew) => [skew, verifier(skew)]));
        const [narrow, wide] = [made.get(first), made.get(second)] as ReturnType<typeof verifier>[];
        if (narrow === undefined || wide === undefined) throw new Error('none was made');
        const captured = await signedNow();
        expect(await narrow(captured)).toBe('accepted');
        await wait(later, narrow);
        expect(await wide(captured)).toBe('replay_detected');
        expect(await narrow(captured)).toBe(later > first ? 'timestamp_out_of_range' : 'replay_detected');
      }
    },
  );

  it('the wider one made later: it finds what is still there', async () => {
    const { verifier, wait } = start();
    const narrow = verifier(30);
    const captured = await signedNow();
    expect(await narrow(captured)).toBe('accepted');
    await wait(15, narrow);
    const wide = verifier(300);
    await wait(125, narrow);
    expect(await wide(captured)).toBe('replay_detected');
  });

  it('the wider one made after the store has dropped it: that is refused, and nothing that is new', async () => {
    const { verifier, wait } = start();
    const narrow = verifier(30);
    const captured = await signedNow();
    expect(await narrow(captured)).toBe('accepted');
    await wait(240, narrow);
    const wide = verifier(300);
    expect(await wide(captured)).toMatch(/replay_detected|timestamp_out_of_range/);
    for (const verify of [narrow, wide]) {
      expect(await verify(await signed({}, { created: nowSeconds() + 240 - 29 }))).toBe('accepted');
    }
  });

  it('nonceWindowSeconds of one, less than that of the other: makes no difference', async () => {
    const { verifier, wait } = start();
    const [short, long] = [verifier(30, 60), verifier(100, 600)];
    const captured = await signedNow();
    expect(await short(captured)).toBe('accepted');
    await wait(95, short);
    expect(await long(captured)).toBe('replay_detected');
  });
});

it('a verifier whose clock is two minutes behind another: what one has accepted is a replay for the other', async () => {
  const clock = { aheadSeconds: 0 };
  const now = () => Date.now() + clock.aheadSeconds * 1000;
  const store = new InMemoryNonceStore({ now, startedAt: nowSeconds() - 3600 });
  const right = verifiersOn(store, clock)(30);
  const lateClock = { aheadSeconds: -120 };
  const late = verifiersOn(store, lateClock)(30);
  const [captured, ofLate] = [await signedNow(), await signed({}, { created: nowSeconds() - 120 })];
  expect(await right(captured)).toBe('accepted');
  expect(await late(ofLate)).toBe('accepted');
  for (clock.aheadSeconds = 15; clock.aheadSeconds <= 135; clock.aheadSeconds += 15) {
    await right(await signed({}, { created: nowSeconds() + clock.aheadSeconds }));
  }
  lateClock.aheadSeconds = 15; // 135 s later, and two minutes behind
  expect(await late(captured)).toBe('replay_detected');
  lateClock.aheadSeconds = -100;
  expect(await late(ofLate)).toBe('replay_detected');
});

it('a skew of 30 s decides how long nonces are kept in memory; a store that others may share keeps them for 300 s', async () => {
  const asked: number[] = [];
  class Watched extends InMemoryNonceStore {
    override claim(deviceId: string, nonce: string, keepUntilMs: number): boolean {
      asked.push(keepUntilMs - Date.now());
      return super.claim(deviceId, nonce, keepUntilMs);
    }
  }
  const memory = new Watched({ startedAt: nowSeconds() - 3600 });
  expect(await verifiersOn(memory, { aheadSeconds: 0 })(30)(await signedNow())).toBe('accepted');
  expect(asked[0]).toBeLessThan(61_000);
  const own = new MapNonceStore(Date.now);
  expect(await verifiersOn(own, { aheadSeconds: 0 })(30)(await signedNow())).toBe('accepted');
  expect([...own.untilMs.values()][0]).toBeGreaterThan(Date.now() + 305_000);
});
