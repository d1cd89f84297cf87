import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type Ephemeral, newEphemeral } from '../../src/pairing/ceremony/suite';
import { keyOf, newParty } from '../support/ceremony';
import { withDigits } from '../support/grind';
import { type BetweenOptions, holdBetween } from '../support/mallory';
import { buildPairing } from '../support/pairing-build';

/*
 * What is left to a relay that knows everything but the keys is luck: one chance in 10^6, which nobody can wait for.
 * The ceremony with a code of two and of three digits shows that it is luck, and no more.
 */

/** Holds the number against the one that luck gives in so many independent tries, within four standard deviations. */
function expectLuck(hits: number, tries: number, chance: number): void {
  const mean = tries * chance;
  const deviation = Math.sqrt(mean * (1 - chance));
  expect(hits).toBeGreaterThan(mean - 4 * deviation);
  expect(hits).toBeLessThan(mean + 4 * deviation);
}

type Attack = (run: number) => ReturnType<typeof holdBetween>;

/** The nonces alone are new in each run, and the same in each run of the test: so it cannot fail by bad luck. */
async function newAttack(digits: number): Promise<Attack> {
  const pairing = await buildPairing(withDigits(digits));
  const ephemerals: Ephemeral[] = [];
  for (const who of ['controller', 'target', 'toController', 'toTarget'])
    ephemerals.push(await newEphemeral(keyOf(who)));
  const secrets = (run: number, who: number) => ({
    ephemeral: ephemerals[who],
    nonce: createHash('sha256').update(`${run} ${who}`).digest(),
  });
  const people: Pick<BetweenOptions, 'parties' | 'mallory'> = {
    parties: {
      controller: await newParty('controller', 'laptop'),
      target: await newParty('target', 'prod-api'),
    },
    mallory: {
      controller: await newParty('controller', 'laptop'),
      target: await newParty('target', 'prod-api'),
    },
  };
  return (run) => {
    const fixed = {
      controller: secrets(run, 0),
      target: secrets(run, 1),
      toController: secrets(run, 2),
      toTarget: secrets(run, 3),
    };
    return holdBetween({ pairing, fixed, ...people });
  };
}

/** So many attacks, some at a time. */
async function repeat(attack: Attack, times: number) {
  const outcomes: Awaited<ReturnType<Attack>>[] = [];
  for (let run = 0; run < times; run += 50) {
    const batch = Array.from({ length: Math.min(50, times - run) }, (_, i) => attack(run + i));
    outcomes.push(...(await Promise.all(batch)));
  }
  return outcomes;
}

// Whole attacks, each with two ceremonies. More than 2,000 or 20,000 of them also are enough to count those that win.
const RUNS = process.env.AMESH_PAIRING_RUNS;

describe('a relay between two ceremonies of its own', () => {
  it.each([
    { digits: 2, runs: Number(RUNS ?? 150) },
    { digits: 3, runs: Number(RUNS ?? 250) },
  ])(
    'wins once in 10^$digits with a code of $digits digits',
    async ({ digits, runs }) => {
      const outcomes = await repeat(await newAttack(digits), runs);
      let won = 0;
      for (const { shown, expected, verified, saved } of outcomes) {
        expect(shown).toHaveLength(digits);
        expect(verified).toBe(shown === expected);
        expect([saved.controller.length, saved.target.length]).toEqual(verified ? [1, 1] : [0, 0]);
        if (verified) won++;
      }
      const chance = 10 ** -digits;
      if (runs * chance >= 20) expectLuck(won, runs, chance);

      // The two ceremonies of a relay know nothing of each other: so each code of a controller is held against each of
      // a target. Any two of those pairs are independent, and so their deviation is that of independent tries.
      const some = outcomes.slice(0, 2_000);
      let pairs = 0;
      for (const { shown } of some) for (const { expected } of some) if (shown === expected) pairs++;
      expectLuck(pairs, some.length ** 2, chance);
    },
    300_000 + Number(RUNS ?? 0) * 60,
  );
});
