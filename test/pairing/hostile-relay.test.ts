import { beforeAll, describe, expect, it } from 'vitest';
import { Controller } from '../../src/pairing/ceremony/controller';
import { commitment } from '../../src/pairing/ceremony/key-schedule';
import { newEphemeral } from '../../src/pairing/ceremony/suite';
import { Target } from '../../src/pairing/ceremony/target';
import { holdCeremony, newParty, type Outcome, type Relay, type Side } from '../support/ceremony';
import { times } from '../support/full';
import { type BetweenOptions, holdBetween, meetController, meetTarget, sent } from '../support/mallory';
import { buildPairing, type Pairing } from '../support/pairing-build';

const CODE = '482916';

/** Who sends M1 to M8, and as which message of that side. */
const MESSAGES: readonly (readonly [name: string, from: Side, index: number])[] = [
  ['M1', 'controller', 0],
  ['M2', 'target', 0],
  ['M3', 'controller', 1],
  ['M4', 'controller', 2],
  ['M5', 'target', 1],
  ['M6', 'target', 2],
  ['M7', 'controller', 3],
  ['M8', 'target', 3],
];

/** The attack on one message; all others go through. */
const on =
  (side: Side, at: number, attack: (body: string) => ReturnType<Relay>): Relay =>
  (from, index, body) =>
    from === side && index === at ? attack(body) : { on: [body] };

/** Where a side waits for a message: the clock of its client ends it. */
const WAITING = {
  controller: ['committed', 'introduced', 'showing', 'committing'],
  target: ['idle', 'greeted', 'revealed', 'typing', 'waiting'],
};

/** Each side says that it has failed, or waits for what will never come; and none will ever pair. */
function expectEnded({ states, failures, confirmed }: Outcome): void {
  expect(confirmed).toBe(false);
  for (const side of ['controller', 'target'] as const) {
    if (failures[side] !== undefined) expect(states[side]).toBe('failed');
    else expect(WAITING[side]).toContain(states[side]);
  }
}

/**
 * What an attack may leave: nothing; or, once the controller's human has said yes, the target's row unconfirmed with
 * or without trust on the other side. Never a row of anybody but the two, and never trust that was not confirmed.
 */
function expectHarmless(name: string, outcome: Outcome): void {
  if (name === 'M8') {
    expect(outcome.saved).toEqual({ controller: ['prod-api'], target: ['laptop'] });
    expect(outcome.states).toMatchObject({
      controller: expect.not.stringMatching('paired'),
      target: 'paired',
    });
    expect(outcome.confirmed).toBe(false);
    return;
  }
  expectEnded(outcome);
  expect(outcome.saved).toEqual({ controller: name === 'M7' ? ['prod-api'] : [], target: [] });
}

/** Somebody has noticed. */
function expectNoticed({ failures }: Outcome): void {
  expect(`${failures.controller} ${failures.target}`).toMatch(/tampered|unsupported_version/);
}

describe.each(MESSAGES)('%s', (name, side, index) => {
  const receiver = side === 'controller' ? 'target' : 'controller';
  const attacked = (attack: (body: string) => ReturnType<Relay>) =>
    holdCeremony({ relay: on(side, index, attack) });

  it('dropped', async () => {
    expectHarmless(name, await attacked(() => ({})));
  });

  it('truncated at every byte, and with every byte changed', async () => {
    let length = 0;
    await attacked((body) => {
      length = body.length;
      return {};
    });
    const changed = (body: string, at: number) => {
      const code = body.charCodeAt(at);
      return body.slice(0, at) + String.fromCharCode(code === 0x41 ? 0x42 : 0x41) + body.slice(at + 1);
    };
    const attackAt = async (at: number) => {
      const cut = await attacked((body) => ({ on: [body.slice(0, at)] }));
      expectHarmless(name, cut);
      expect(cut.failures[receiver]).toMatch(/^(?:tampered|unsupported_version)$/);
      const other = await attacked((body) => ({ on: [changed(body, at)] }));
      expectHarmless(name, other);
      expectNoticed(other);
    };
    const every = times(4, 1);
    const positions = Array.from({ length: Math.ceil(length / every) }, (_, i) => i * every);
    while (positions.length > 0) await Promise.all(positions.splice(0, 32).map(attackAt));
  });

  it('replayed', async () => {
    const outcome = await attacked((body) => ({ on: [body, body] }));
    if (name === 'M7' || name === 'M8') {
      expect(outcome).toMatchObject({ confirmed: true, states: { controller: 'paired', target: 'paired' } });
      expect(outcome.saved).toEqual({ controller: ['prod-api'], target: ['laptop'] }); // once, and by the first
    } else {
      expectHarmless(name, outcome);
      expect(outcome.failures[receiver]).toBe('tampered');
    }
  });

  it('replayed in place of every later one', async () => {
    const later = MESSAGES.slice(MESSAGES.findIndex(([other]) => other === name) + 1);
    for (const [laterName, laterSide, laterIndex] of later) {
      let old = '';
      const outcome = await holdCeremony({
        relay: (from, at, body) => {
          if (from === side && at === index) old = body;
          return { on: [from === laterSide && at === laterIndex ? old : body] };
        },
      });
      expectHarmless(laterName, outcome);
      expectNoticed(outcome);
    }
  });

  it('before the one that comes before it', async () => {
    // Held back until the next one of its side has gone first: for all but M3 and M4 there will be no such one.
    let held: string | undefined;
    const outcome = await holdCeremony({
      relay: (from, at, body) => {
        if (from !== side) return { on: [body] };
        if (at === index) {
          held = body;
          return {};
        }
        return { on: at === index + 1 ? [body, held as string] : [body] };
      },
    });
    expectHarmless(name, outcome);
    if (name === 'M3') expect(outcome.failures.target).toBe('tampered');
  });

  it('reflected', async () => {
    const outcome = await attacked((body) => ({ back: [body] }));
    expectHarmless(name, outcome);
    expect(outcome.failures[side]).toBe(name === 'M8' ? undefined : 'tampered');
  });

  it('invented', async () => {
    for (const body of [
      '',
      '{}',
      'null',
      '[]',
      '{"type":"m1"}',
      'AAAA',
      'x'.repeat(8192),
      '{"__proto__":1}',
    ]) {
      const outcome = await attacked(() => ({ on: [body] }));
      expectHarmless(name, outcome);
      expect(outcome.failures[receiver]).toBe('tampered');
    }
  });

  it('of another ceremony', async () => {
    let other = '';
    await holdCeremony({
      relay: on(side, index, (body) => {
        other = body;
        return { on: [body] };
      }),
    });
    const outcome = await attacked(() => ({ on: [other] }));
    expectHarmless(name, outcome);
    expect(Object.values(outcome.failures)).toContain('tampered');
  });
});

describe('without the pairing code of the other side', () => {
  it.each(['controller', 'target'] as const)(
    'since the %s was given another one, nothing is paired',
    async (side) => {
      const outcome = await holdCeremony({ [side]: { code: '111111' } });
      expectHarmless('M4', outcome);
      expect(outcome.failures.target).toBe('tampered');
    },
  );
});

describe('a relay that swaps an ephemeral key', () => {
  const of = async () => (await newEphemeral()).publicKey;
  const swap =
    (member: 'eC' | 'eT', key: Uint8Array) =>
    (body: string): ReturnType<Relay> => ({
      on: [JSON.stringify({ ...JSON.parse(body), [member]: Buffer.from(key).toString('base64url') })],
    });

  it('of the target is caught by the next message', async () => {
    const outcome = await holdCeremony({ relay: on('target', 0, swap('eT', await of())) });
    expectHarmless('M2', outcome);
    expect(outcome.failures.target).toBe('tampered');
  });

  it('of the controller is caught by the commitment', async () => {
    const outcome = await holdCeremony({ relay: on('controller', 1, swap('eC', await of())) });
    expectHarmless('M3', outcome);
    expect(outcome.failures.target).toBe('tampered');
  });

  it('of the controller, commitment and all, is caught by the next message', async () => {
    const [eC, nC] = [await of(), new Uint8Array(32)];
    const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');
    const com = text(await commitment(eC, nC));
    const outcome = await holdCeremony({
      relay: (from, index, body) => {
        if (from === 'controller' && index === 0)
          return { on: [JSON.stringify({ ...JSON.parse(body), com })] };
        if (from === 'controller' && index === 1)
          return { on: [JSON.stringify({ type: 'm3', eC: text(eC), nC: text(nC) })] };
        return { on: [body] };
      },
    });
    expectHarmless('M4', outcome);
    expect(outcome.failures.target).toBe('tampered');
  });

  it.each([
    ['the point at infinity', '00'.repeat(33)],
    ['a point off the curve', `02${'00'.repeat(31)}01`],
    ['a coordinate of the field size', '02ffffffff00000001000000000000000000000000ffffffffffffffffffffffff'],
    ['a coordinate beyond the field', `03${'ff'.repeat(32)}`],
    ['an uncompressed mark', `04${'6b'.repeat(32)}`],
  ])('for %s is refused by both', async (_, hex) => {
    const point = Buffer.from(hex, 'hex');
    const target = await holdCeremony({ relay: on('target', 0, swap('eT', point)) });
    expectHarmless('M2', target);
    expect(target.failures.controller).toBe('tampered');
    const machine = new Target({ code: CODE, ...(await newParty('target', 'prod-api')) });
    const pairing = await buildPairing();
    const nonce = new Uint8Array(32);
    await machine.handle({ type: 'message', body: pairing.writeM1({ com: await commitment(point, nonce) }) });
    const m3 = pairing.writeM3({ eC: point, nC: nonce });
    expect(await machine.handle({ type: 'message', body: m3 })).toEqual([
      { type: 'fail', failure: 'tampered' },
    ]);
  });
});

describe('a relay that offers another version', () => {
  it.each([
    ['M1', 'controller', 0, { versions: [2] }],
    ['M1', 'controller', 0, { versions: [0, 1] }],
    ['M1', 'controller', 0, { versions: [1, 2] }],
    ['M1', 'controller', 0, { versions: [] }],
    ['M1', 'controller', 0, { versions: ['1'] }],
    ['M1', 'controller', 0, { versions: Array(17).fill(1) }],
    ['M1', 'controller', 0, { suite: 'none' }],
    ['M1', 'controller', 0, { role: 'target' }],
    ['M2', 'target', 0, { version: 0 }],
    ['M2', 'target', 0, { version: 2 }],
    ['M2', 'target', 0, { version: '1' }],
    ['M2', 'target', 0, { suite: 'none' }],
    ['M2', 'target', 0, { role: 'controller' }],
  ] as const)('in %s is caught: %s %s %o', async (name, from, index, change) => {
    const relay = on(from, index, (body) => ({ on: [JSON.stringify({ ...JSON.parse(body), ...change })] }));
    const outcome = await holdCeremony({ relay });
    expectHarmless(name, outcome);
    expectNoticed(outcome);
  });
});

describe('a relay that asks again', () => {
  it('gets one M2 of one run, whatever it drops before M3', async () => {
    const { writeM1 } = await buildPairing();
    const target = new Target({ code: CODE, ...(await newParty('target', 'prod-api')) });
    const body = writeM1({ com: new Uint8Array(32) });
    expect(sent(await target.handle({ type: 'message', body }))).toHaveLength(1);
    expect(await target.handle({ type: 'message', body })).toEqual([{ type: 'fail', failure: 'tampered' }]);
    expect(await target.handle({ type: 'message', body })).toEqual([]);
    expect(target.state).toBe('failed');
  });

  it('gets no M2 after a first M1 that was wrong', async () => {
    const { writeM1 } = await buildPairing();
    const target = new Target({ code: CODE, ...(await newParty('target', 'prod-api')) });
    const body = writeM1({ com: new Uint8Array(32) });
    await target.handle({ type: 'message', body: body.replace('[1]', '[2]') });
    expect(await target.handle({ type: 'message', body })).toEqual([]);
  });

  it('gets one M1 and one M3 of one run', async () => {
    const { writeM2 } = await buildPairing();
    const controller = new Controller({ code: CODE, ...(await newParty('controller', 'laptop')) });
    expect(sent(await controller.handle({ type: 'start' }))).toHaveLength(1);
    const m2 = async () => writeM2({ eT: (await newEphemeral()).publicKey, nT: new Uint8Array(32) });
    expect(sent(await controller.handle({ type: 'message', body: await m2() }))).toHaveLength(2);
    expect(await controller.handle({ type: 'message', body: await m2() })).toMatchObject([{ type: 'fail' }]);
    expect(await controller.handle({ type: 'start' })).toEqual([]);
  });
});

describe('a relay that knows the pairing code and holds a ceremony of its own with each side', () => {
  let between: BetweenOptions;
  let pairing: Pairing;

  beforeAll(async () => {
    pairing = await buildPairing();
    const parties = async () => ({
      controller: await newParty('controller', 'laptop'),
      target: await newParty('target', 'prod-api'),
    });
    between = { pairing, parties: await parties(), mallory: await parties() };
  });

  it('and forges the verdict is caught by two people who compare the codes', async () => {
    for (let run = 0; run < 10; run++) {
      const outcome = await holdBetween(between);
      expect(outcome.shown).toMatch(/^\d{6}$/);
      expect(outcome).toMatchObject({
        verified: false,
        saved: { controller: [], target: [] },
        failures: { controller: 'declined', target: 'codes_differ' },
      });
    }
  });

  it('plants at most a false target if nobody looks before saying yes, never a false controller', async () => {
    const outcome = await holdBetween({ ...between, says: () => true });
    expect(outcome.saved).toEqual({ controller: [between.mallory.target.own.publicKey], target: [] });
    expect(outcome.failures.target).toBe('codes_differ');
  });

  it('cannot pass on the identity of either side', async () => {
    const { controller, target } = between.parties;
    const real = new Controller({ code: CODE, ...controller });
    const toController = await meetController(pairing, real, { code: CODE });
    const other = new Target({ code: CODE, ...target });
    const toTarget = await meetTarget(pairing, other, { code: CODE });
    // The signature in M4 is one over the other transcript, that in M5 likewise.
    const m4 = await toTarget.channel.seal('m4', toController.m4);
    expect(await other.handle({ type: 'message', body: m4 })).toEqual([
      { type: 'fail', failure: 'tampered' },
    ]);

    const again = new Target({ code: CODE, ...target });
    const leg = await meetTarget(pairing, again, { code: CODE });
    const own = await pairing.writeIntroduction(
      leg.keys.th,
      between.mallory.controller.own,
      between.mallory.controller.signer,
    );
    const [m5] = sent(await again.handle({ type: 'message', body: await leg.channel.seal('m4', own) }));
    const body = await toController.channel.seal('m5', await leg.channel.open('m5', m5 as string));
    expect(await real.handle({ type: 'message', body })).toMatchObject([
      { type: 'fail', failure: 'tampered' },
    ]);
  });

  it('cannot put its own key under the signature of either side', async () => {
    const { controller, target } = between.parties;
    const { publicKey } = between.mallory.controller.own;
    const real = new Controller({ code: CODE, ...controller });
    const leg = await meetController(pairing, real, { code: CODE });
    const signed = await pairing.writeIntroduction(leg.keys.th, target.own, target.signer);
    const m5 = await leg.channel.seal('m5', { ...signed, publicKey });
    expect(await real.handle({ type: 'message', body: m5 })).toMatchObject([
      { type: 'fail', failure: 'tampered' },
    ]);

    const other = new Target({ code: CODE, ...target });
    const toTarget = await meetTarget(pairing, other, { code: CODE });
    const named = await pairing.writeIntroduction(toTarget.keys.th, controller.own, controller.signer);
    const m4 = await toTarget.channel.seal('m4', { ...named, publicKey });
    expect(await other.handle({ type: 'message', body: m4 })).toEqual([
      { type: 'fail', failure: 'tampered' },
    ]);
  });

  it('cannot make a device pair with itself', async () => {
    const device = await newParty('controller', 'both');
    const target = { ...device, own: { ...device.own, role: 'target' as const } };
    const outcome = await holdCeremony({ controller: device, target });
    expectHarmless('M4', outcome);
    expect(outcome.failures.target).toBe('own_key');

    const real = new Controller({ code: CODE, ...device });
    const leg = await meetController(pairing, real, { code: CODE });
    const introduction = await pairing.writeIntroduction(leg.keys.th, target.own, target.signer);
    const body = await leg.channel.seal('m5', introduction);
    expect(await real.handle({ type: 'message', body })).toMatchObject([
      { type: 'fail', failure: 'own_key' },
    ]);
  });
});
