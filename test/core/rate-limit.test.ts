import { expect, it } from 'vitest';
import { RateLimit } from '../../src/core/rate-limit';

it('gives back the places of what did not happen, and never more than the burst', () => {
  const limit = new RateLimit({ burst: 2, everyMs: 1000 });
  const takes = (nowMs: number) => Array.from({ length: 4 }, () => limit.take('a', nowMs));
  expect(takes(0)).toEqual([true, true, false, false]);
  expect(limit.take('a', 60_000)).toBe(true); // the two of before count no longer
  for (let i = 0; i < 3; i++) limit.giveBack('a');
  expect(takes(60_000)).toEqual([true, true, false, false]);
});
