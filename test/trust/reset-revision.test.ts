import { expect, it } from 'vitest';
import { revisionOfReset } from '../../src/machine/setup/reset-revision';
import { MAX_JUMP } from '../../src/trust/list/newest';

it('after any number of resets within a month, an instance that saw none of them accepts the list', () => {
  const from = 41;
  let newest = from;
  let last: Parameters<typeof revisionOfReset>[1];
  for (let i = 0; i < 15; i++) {
    const { after, reset } = revisionOfReset(newest, last, 1_000_000 + i);
    expect(after - newest).toBeGreaterThan(10);
    expect(reset).toEqual({ from, atSeconds: 1_000_000 });
    newest = after + 1 + i; // the reset, and some changes behind it
    last = reset;
  }
  expect(newest - from).toBeLessThanOrEqual(MAX_JUMP);
});

it('each goes beyond half a million revisions that other instances may have seen, if it is the first in a month', () => {
  const first = revisionOfReset(0, undefined, 0);
  expect(first).toEqual({ after: 524_288, reset: { from: 0, atSeconds: 0 } });
  const later = revisionOfReset(524_300, first.reset, 31 * 86_400);
  expect(later).toEqual({ after: 524_300 + 524_288, reset: { from: 524_300, atSeconds: 31 * 86_400 } });
});

it('starts again if no room is left', () => {
  const { after } = revisionOfReset(MAX_JUMP - 1, { from: 0, atSeconds: 0 }, 1);
  expect(after).toBe(MAX_JUMP - 1 + MAX_JUMP / 2);
});
