import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { networksOf } from '../../relay/src/limits/address';
import { FairShare } from '../../relay/src/limits/fair-share';
import { NetworkRateLimit } from '../../relay/src/limits/rate-limit';

/** A share whose items are their own names, and those that had to go. */
function shareOf(options: { places: number; bytes?: number }, isIdle = false) {
  const gone: string[] = [];
  const share = new FairShare<string>({
    ...options,
    evict: (item) => gone.push(item),
    isIdle: () => isIdle,
  });
  const take = (item: string, address: string, bytes = 0) => {
    const full = share.makeSpace(address, bytes);
    if (full === undefined) share.add(item, address, bytes);
    return full;
  };
  return { share, gone, take };
}

describe('the networks of an address', () => {
  it.each([
    ['192.0.2.7', ['192.0.2.0/24', '192.0.2.7']],
    ['2001:db8:1:203::/64', ['2001:db8:1::/48', '2001:db8:1:200::/56', '2001:db8:1:203::/64']],
    ['2001:db8:1:3::/64', ['2001:db8:1::/48', '2001:db8:1:000::/56', '2001:db8:1:3::/64']],
    ['unknown', ['unknown']],
  ])('%s', (key, networks) => expect(networksOf(key)).toEqual(networks));
});

describe('a full share', () => {
  it('gives a newcomer a place of the network that holds most', () => {
    const { gone, take } = shareOf({ places: 6 });
    for (let i = 0; i < 6; i++) take(`a${i}`, `2001:db8:1:${i}::/64`);
    expect(take('b', '2001:db8:2:1::/64')).toBeUndefined();
    expect(take('c', '192.0.2.1')).toBeUndefined();
    expect(gone).toHaveLength(2);
    expect(take('a6', '2001:db8:1:6::/64')).toBe('capacity');
  });

  it('does the same within a network: first between its /56s, then between its /64s', () => {
    const { gone, take } = shareOf({ places: 4 });
    for (const [i, subnet] of ['101', '101', '102', '201'].entries())
      take(`${i}`, `2001:db8:1:${subnet}::/64`);
    expect(take('other /56', '2001:db8:1:301::/64')).toBeUndefined();
    expect(gone).toEqual(['0']);
    expect(take('same /56, other /64', '2001:db8:1:103::/64')).toBe('capacity');
  });

  it('never lets two addresses take turns: one that would hold as much as the other is refused', () => {
    const { gone, take } = shareOf({ places: 4 });
    for (let i = 0; i < 100; i++) take(`${i}`, i % 2 === 0 ? '192.0.2.1' : '198.51.100.1');
    expect(gone).toEqual([]);
  });

  it('evicts an item that nobody waits for, even if both would hold the same', () => {
    const { gone, take } = shareOf({ places: 2 }, true);
    for (let i = 0; i < 4; i++) expect(take(`${i}`, `192.0.${i}.1`)).toBeUndefined();
    expect(gone).toEqual(['0', '1']);
  });

  it('counts bytes separately', () => {
    const { share, gone, take } = shareOf({ places: 100, bytes: 100 });
    for (let i = 0; i < 10; i++) take(`a${i}`, '192.0.2.1', 10);
    expect(take('b', '198.51.100.1', 30)).toBeUndefined();
    expect(gone).toEqual(['a0', 'a1', 'a2']);
    expect(share.bytes).toBe(100);
    expect(take('c', '203.0.113.1', 80)).toBe('capacity');
  });

  it('stays within its bounds in any sequence, and holds nothing at the end', () => {
    const address = fc.oneof(
      fc.nat(0xffff).map((n) => `2001:db8:${(n >> 12).toString(16)}:${(n & 0xfff).toString(16)}::/64`),
      fc.nat(1023).map((n) => `192.0.${n >> 8}.${n & 255}`),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(address, fc.nat(50), fc.boolean()), { maxLength: 200 }), (steps) => {
        const { share, gone, take } = shareOf({ places: 20, bytes: 300 });
        const held = new Set<string>();
        for (const [i, [address, bytes, isLeaving]] of steps.entries()) {
          const [first] = held;
          if (isLeaving && first !== undefined) {
            share.remove(first);
            held.delete(first);
          }
          if (take(`${i}`, address, bytes) === undefined) held.add(`${i}`);
          for (const item of gone.splice(0)) expect(held.delete(item)).toBe(true);
          expect(share.size).toBe(held.size);
          expect(share.size).toBeLessThanOrEqual(20);
          expect(share.bytes).toBeLessThanOrEqual(300);
        }
        for (const item of held) share.remove(item);
        expect([share.size, share.bytes]).toEqual([0, 0]);
      }),
      { numRuns: 200 },
    );
  });
});

describe('a rate limit', () => {
  it('allows a /56 four times, and a /48 sixteen times, what it allows a /64', () => {
    const taken = (subnets: readonly number[]) => {
      const limit = new NetworkRateLimit(10);
      return subnets.filter((subnet) => {
        const address = `2001:db8:1:${subnet.toString(16)}::/64`;
        if (limit.retryAfterSeconds(address, 0) > 0) return false;
        limit.add(address, 0);
        return true;
      }).length;
    };
    expect(taken(Array(50).fill(1))).toBe(10);
    expect(taken(Array.from({ length: 100 }, (_, i) => i))).toBe(40);
    expect(taken(Array.from({ length: 505 }, (_, i) => i * 100))).toBe(160);
  });

  it('counts each IPv4 address separately, and remembers nothing after a minute', () => {
    const limit = new NetworkRateLimit(1);
    for (let i = 0; i < 200; i++) {
      expect(limit.retryAfterSeconds(`192.0.2.${i}`, 0)).toBe(0);
      limit.add(`192.0.2.${i}`, 0);
    }
    limit.add('2001:db8:1:1::/64', 0);
    expect(limit.size).toBe(203);
    limit.sweep(60_000);
    expect(limit.size).toBe(0);
  });
});
