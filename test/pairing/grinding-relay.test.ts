import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { newEphemeral } from '../../src/pairing/ceremony/suite';
import { keyOf, newParty } from '../support/ceremony';
import {
  codeWithIdentities,
  grindName,
  grindNonce,
  IDENTITIES_IN_CODE,
  NO_COMMITMENT,
} from '../support/grind';
import { type BetweenOptions, holdBetween, type Revealing, type Strategy } from '../support/mallory';
import { buildPairing, type Pairing } from '../support/pairing-build';

// What the two weaker ceremonies and the shipped one have in common need not be tried twice.
const found = new Map<string, Uint8Array>();

/** What a relay may try where nothing binds it to a choice before it knows the rest. */
const STRATEGIES = {
  nonces: {
    reveal(known: Revealing, wanted: string) {
      const key = JSON.stringify({ ...known, wanted });
      const nonce = found.get(key) ?? grindNonce(known, wanted);
      found.set(key, nonce);
      return nonce;
    },
  },
  identities: {
    introduce({ toController, toTarget, settled, controller }, own) {
      const wanted = codeWithIdentities(toTarget.keys.th, settled.controller, settled.target);
      return { ...own, name: grindName(toController.keys.th, controller, own, wanted) };
    },
  },
} satisfies Record<string, Strategy>;

/**
 * Keys and nonces of everybody, the same in every run. It takes a million tries on average; the seed is one with which
 * both attacks come through with a tenth of that.
 */
async function newWorld(seed: number): Promise<Omit<BetweenOptions, 'pairing' | 'strategy'>> {
  const party = async (side: 'controller' | 'target', name: string, whose: string) =>
    newParty(side, name, side === 'target' ? ['api.example.com'] : [], keyOf(`${seed} ${whose} ${side}`));
  const secrets = async (whose: string) => ({
    nonce: createHash('sha256').update(`${seed} nonce of ${whose}`).digest(),
    ephemeral: await newEphemeral(keyOf(`${seed} ephemeral of ${whose}`)),
  });
  return {
    parties: {
      controller: await party('controller', 'laptop', 'true'),
      target: await party('target', 'prod-api', 'true'),
    },
    mallory: {
      controller: await party('controller', 'laptop', 'false'),
      target: await party('target', 'prod-api', 'false'),
    },
    fixed: {
      controller: await secrets('the controller'),
      target: await secrets('the target'),
      toController: await secrets('Mallory, to the controller'),
      toTarget: await secrets('Mallory, to the target'),
    },
  };
}

describe('a grinding relay', () => {
  let world: Awaited<ReturnType<typeof newWorld>>;
  let shipped: Pairing;

  beforeAll(async () => {
    world = await newWorld(3);
    shipped = await buildPairing();
  });

  const attack = (pairing: Pairing, strategy: Strategy) => holdBetween({ pairing, strategy, ...world });

  /** Both people saw six digits that agree, and each side trusts Mallory. */
  async function expectTakenIn(weaker: Pairing, strategy: Strategy): Promise<void> {
    const outcome = await attack(weaker, strategy);
    expect(outcome.shown).toMatch(/^\d{6}$/);
    expect(outcome).toMatchObject({
      verified: true,
      saved: {
        controller: [world.mallory.target.own.publicKey],
        target: [world.mallory.controller.own.publicKey],
      },
    });
  }

  it('that tries nonces after it has seen the code of the controller would win without the commitment', async () => {
    await expectTakenIn(await buildPairing(NO_COMMITMENT), STRATEGIES.nonces);
  });

  it('and is refused as soon as it opens another commitment than the one it made', async () => {
    expect(await attack(shipped, STRATEGIES.nonces)).toMatchObject({
      verified: false,
      saved: { controller: [], target: [] },
      failures: { controller: 'declined', target: 'tampered' },
    });
  });

  it('that tries identities after it has seen the code of the target would win if they were part of the code', async () => {
    await expectTakenIn(await buildPairing(IDENTITIES_IN_CODE), STRATEGIES.identities);
  });

  it('and gains nothing by it', async () => {
    const outcome = await attack(shipped, STRATEGIES.identities);
    expect(outcome).toMatchObject({
      verified: false,
      saved: { controller: [], target: [] },
      failures: { controller: 'declined', target: 'codes_differ' },
    });
    const { shown, expected } = await holdBetween({ pairing: shipped, ...world });
    expect(outcome).toMatchObject({ shown, expected });
  });
});
