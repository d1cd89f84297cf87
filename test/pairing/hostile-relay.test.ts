import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it } from 'vitest';
import { Controller } from '../../src/pairing/controller';
import { Target } from '../../src/pairing/target';
import { holdCeremony, newParty, type Outcome, type Relay, type Side } from '../support/ceremony';

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

/**
 * What an attack may leave: nothing; or, once the controller's human has said yes, the target's row unconfirmed with
 * or without trust on the other side. Never a row of anybody but the two, and never trust that was not confirmed.
 */
function expectHarmless(name: string, outcome: Outcome): void {
  expect(outcome.confirmed).toBe(false);
  if (name === 'M7') expect(outcome.saved).toEqual({ controller: ['prod-api'], target: [] });
  else if (name === 'M8') expect(outcome.saved).toEqual({ controller: ['prod-api'], target: ['laptop'] });
  else expect(outcome.saved).toEqual({ controller: [], target: [] });
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
    for (let at = 0; at < length; at++) {
      const cut = await attacked((body) => ({ on: [body.slice(0, at)] }));
      expectHarmless(name, cut);
      expect(cut.failures[receiver]).toMatch(/^(?:tampered|unsupported_version)$/);
      const other = await attacked((body) => ({ on: [changed(body, at)] }));
      expectHarmless(name, other);
      expect(Object.values(other.failures).filter((failure) => failure !== undefined).length).toBeGreaterThan(
        0,
      );
    }
  });

  it('sent twice', async () => {
    const outcome = await attacked((body) => ({ on: [body, body] }));
    if (name === 'M7' || name === 'M8')
      expect(outcome.states[receiver]).toBe('paired'); // it has ended
    else expect(outcome.failures[receiver]).toBe('tampered');
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

describe('a relay that knows the pairing code', () => {
  /** Holds a ceremony of its own with each side, under its own key. */
  async function between() {
    const mallory = {
      controller: await newParty('controller', 'laptop'),
      target: await newParty('target', 'prod-api'),
    };
    const toController = new Target({ code: '482916', ...mallory.target });
    const toTarget = new Controller({ code: '482916', ...mallory.controller });
    const alice = await newParty('controller', 'laptop');
    const bob = await newParty('target', 'prod-api');
    const controller = new Controller({ code: '482916', ...alice });
    const target = new Target({ code: '482916', ...bob });
    let shown = '';
    for (const [client, server] of [
      [controller, toController],
      [toTarget, target],
    ] as const) {
      let out = (await client.handle({ type: 'start' })) as readonly { type: string; body?: string }[];
      for (let turn = 0; turn < 3; turn++) {
        const replies: { type: string; body?: string }[] = [];
        for (const { type, body } of out) {
          if (type === 'send')
            replies.push(
              ...((await server.handle({ type: 'message', body: body as string })) as typeof replies),
            );
        }
        const next: { type: string; body?: string; verificationCode?: string }[] = [];
        for (const { type, body } of replies) {
          if (type === 'send')
            next.push(...((await client.handle({ type: 'message', body: body as string })) as typeof next));
        }
        for (const action of next)
          if (action.type === 'show' && client === controller) shown = action.verificationCode as string;
        out = next;
      }
    }
    return { target, shown };
  }

  it('is found out by two people who compare the codes', async () => {
    for (let run = 0; run < 10; run++) {
      const { target, shown } = await between();
      expect(target.state).toBe('typing');
      expect(shown).toMatch(/^\d{6}$/);
      const [action] = await target.handle({ type: 'typed', text: shown });
      expect(action).toMatchObject({ type: 'again', triesLeft: 2 });
    }
  });

  it('cannot put another ephemeral key behind the commitment', async () => {
    const other = Buffer.from(
      (await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey())).publicKey,
    );
    const outcome = await holdCeremony({
      relay: on('controller', 1, (body) => ({
        on: [JSON.stringify({ ...JSON.parse(body), eC: other.toString('base64url') })],
      })),
    });
    expectHarmless('M3', outcome);
    expect(outcome.failures.target).toBe('tampered');
  });

  it('cannot offer another version', async () => {
    for (const [name, from, index, change] of [
      ['M1', 'controller', 0, { versions: [2] }],
      ['M1', 'controller', 0, { versions: [] }],
      ['M1', 'controller', 0, { suite: 'none' }],
      ['M1', 'controller', 0, { role: 'target' }],
      ['M2', 'target', 0, { version: 0 }],
      ['M2', 'target', 0, { suite: 'none' }],
      ['M2', 'target', 0, { role: 'controller' }],
    ] as const) {
      const relay = on(from, index, (body) => ({ on: [JSON.stringify({ ...JSON.parse(body), ...change })] }));
      const outcome = await holdCeremony({ relay });
      expectHarmless(name, outcome);
      expect(
        Object.values(outcome.failures).some((failure) =>
          /^(?:tampered|unsupported_version)$/.test(failure ?? ''),
        ),
      ).toBe(true);
    }
  });
});
