import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Controller } from '../../src/pairing/ceremony/controller';
import { Target } from '../../src/pairing/ceremony/target';
import { newParty } from '../support/ceremony';
import { sent } from '../support/mallory';

const CODE = '482916';

async function newPair() {
  const laptop = await newParty('controller', 'laptop');
  const server = await newParty('target', 'prod-api');
  return {
    controller: new Controller({ code: CODE, ...laptop }),
    target: new Target({ code: CODE, ...server }),
  };
}

const message = (body: string) => ({ type: 'message', body }) as const;

/** Both have introduced themselves: the controller shows the code, and the target waits for it. */
async function newMeeting() {
  const { controller, target } = await newPair();
  const [m1] = sent(await controller.handle({ type: 'start' })) as [string];
  const [m2] = sent(await target.handle(message(m1))) as [string];
  const [m3, m4] = sent(await controller.handle(message(m2))) as [string, string];
  // Both at once: the second waits its turn.
  const [none, actions] = await Promise.all([target.handle(message(m3)), target.handle(message(m4))]);
  expect(none).toEqual([]);
  const [m5] = sent(actions) as [string];
  const [show] = await controller.handle(message(m5));
  if (show?.type !== 'show') throw new Error('no code');
  return { controller, target, text: show.verificationCode };
}

/** Three codes that are not the right one. */
function wrongCodes(right: string): string[] {
  return ['100000', '200000', '300000', '400000'].filter((code) => code !== right).slice(0, 3);
}

describe('the target', () => {
  it('accepts no message between a right code and the check for room', async () => {
    const { target, text } = await newMeeting();
    const steps = [
      target.handle({ type: 'typed', text }),
      target.handle(message('AAAA')),
      target.handle({ type: 'admitted', yes: true }),
    ];
    expect((await Promise.all(steps)).map(([action]) => action?.type)).toEqual(['admit', 'fail', undefined]);
    expect(target.state).toBe('failed');
  });

  it('accepts no message while the code is typed', async () => {
    const { target, text } = await newMeeting();
    const steps = [target.handle(message('AAAA')), target.handle({ type: 'typed', text })];
    expect(await Promise.all(steps)).toEqual([[{ type: 'fail', failure: 'tampered' }], []]);
  });

  it('counts three tries, however fast they come', async () => {
    const { target, text } = await newMeeting();
    const steps = [...wrongCodes(text), text].map((typed) => target.handle({ type: 'typed', text: typed }));
    const actions = (await Promise.all(steps)).flat();
    expect(actions.filter(({ type }) => type === 'again')).toHaveLength(2);
    expect(actions.filter(({ type }) => type === 'admit')).toHaveLength(0);
    expect(actions.at(-1)).toEqual({ type: 'fail', failure: 'codes_differ' });
  });

  it('counts ten slips that are not codes as no tries, and every one after them as a try', async () => {
    const slips = ['abc', '', '12345', '1234567', '12345x', '１２３４５６', '-', '0', '1e5', '+12345'];
    const { target, text } = await newMeeting();
    for (const slip of slips) {
      const again = { type: 'again', triesLeft: 3, wasPairingCode: false, isCode: false };
      expect(await target.handle({ type: 'typed', text: slip })).toEqual([again]);
    }
    const tries = [];
    for (const typed of ['abc', 'abc', 'abc', text])
      tries.push(await target.handle({ type: 'typed', text: typed }));
    expect(tries).toMatchObject([
      [{ type: 'again', triesLeft: 2 }],
      [{ type: 'again', triesLeft: 1 }],
      [{ type: 'send' }, { type: 'fail', failure: 'codes_differ' }],
      [],
    ]);
  });

  it('accepts the right code after slips', async () => {
    const { target, text } = await newMeeting();
    await target.handle({ type: 'typed', text: 'abc' });
    expect(await target.handle({ type: 'typed', text })).toMatchObject([{ type: 'admit' }]);
  });
});

describe('the controller', () => {
  it('accepts no message while its person is asked, and no yes after one', async () => {
    const { controller, target, text } = await newMeeting();
    await target.handle({ type: 'typed', text });
    const [m6] = sent(await target.handle({ type: 'admitted', yes: true })) as [string];
    const steps = [
      controller.handle(message(m6)),
      controller.handle(message(m6)),
      controller.handle({ type: 'answer', yes: true }),
    ];
    expect((await Promise.all(steps)).map(([action]) => action?.type)).toEqual(['ask', 'fail', undefined]);
    expect(controller.state).toBe('failed');
  });

  it('accepts no yes before it has asked', async () => {
    const { controller } = await newMeeting();
    expect(await controller.handle({ type: 'answer', yes: true })).toMatchObject([{ type: 'fail' }]);
  });
});

describe('each side', () => {
  it('says nothing more once it has failed, whatever comes', async () => {
    for (const machine of Object.values(await newPair())) {
      expect(await machine.handle(message('AAAA'))).toMatchObject([{ type: 'fail', failure: 'tampered' }]);
      const rest = await Promise.all(Array.from({ length: 1000 }, () => machine.handle(message('AAAA'))));
      expect(rest.flat()).toEqual([]);
    }
  });

  it('never throws for what a peer sends, even if that is not text', async () => {
    const bodies = [
      null,
      undefined,
      1,
      true,
      {},
      [],
      { length: 4 },
      'A'.repeat(1_000_000),
      '['.repeat(8192),
      '\ud800',
    ];
    for (const body of bodies as string[]) {
      const { controller, target } = await newPair();
      const [m1] = sent(await controller.handle({ type: 'start' })) as [string];
      const [m2] = sent(await target.handle(message(m1))) as [string];
      expect(await target.handle(message(body))).toEqual([{ type: 'fail', failure: 'tampered' }]);
      await controller.handle(message(m2));
      expect(await controller.handle(message(body))).toMatchObject([{ type: 'fail', failure: 'tampered' }]);
      const [idle, asked] = Object.values(await newPair());
      await (idle as Controller).handle({ type: 'start' });
      for (const machine of [idle, asked])
        expect(await machine?.handle(message(body))).toMatchObject([{ type: 'fail', failure: 'tampered' }]);
    }
  });

  it('reports once a key that does not sign, and accepts nothing more', async () => {
    const { target } = await newPair();
    const laptop = await newParty('controller', 'laptop');
    const gone = new Error('The agent is gone.');
    const signer = { ...laptop.signer, sign: () => Promise.reject(gone) };
    const controller = new Controller({ code: CODE, ...laptop, signer });
    const [m1] = sent(await controller.handle({ type: 'start' })) as [string];
    const [m2] = sent(await target.handle(message(m1))) as [string];
    const first = controller.handle(message(m2));
    const second = controller.handle(message(m2)); // was refused with the error of the first
    await expect(first).rejects.toBe(gone);
    expect(await second).toEqual([]);
    expect(controller.state).toBe('failed');
    expect(await controller.handle(message(m2))).toEqual([]);
  });
});

describe('in whatever order messages come, and whatever people do', () => {
  const step = fc.oneof(
    fc.record({ to: fc.constantFrom('controller' as const, 'target' as const), message: fc.nat(11) }),
    fc.constantFrom('type wrong', 'admit', 'say yes', 'saved at the target', 'saved at the controller'),
  );

  it('nothing is asked or saved while nobody has typed the right code', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 24 }), fc.boolean(), async (steps, met) => {
        const { controller, target } = met ? await newMeeting() : await newPair();
        const wire = ['', 'AAAA', '{}'];
        const actions: { readonly type: string }[] = [];
        const take = async (promise: ReturnType<Controller['handle'] | Target['handle']>) => {
          const taken = await promise;
          actions.push(...taken);
          wire.push(...sent(taken));
        };
        if (!met) await take(controller.handle({ type: 'start' }));
        for (const next of steps) {
          if (typeof next === 'object') {
            const body = wire[wire.length - 1 - (next.message % wire.length)] as string; // the last ones first
            await take((next.to === 'controller' ? controller : target).handle(message(body)));
          } else if (next === 'type wrong') await take(target.handle({ type: 'typed', text: 'wrong' }));
          else if (next === 'admit') await take(target.handle({ type: 'admitted', yes: true }));
          else if (next === 'say yes') await take(controller.handle({ type: 'answer', yes: true }));
          else if (next === 'saved at the target') await take(target.handle({ type: 'saved' }));
          else await take(controller.handle({ type: 'saved' }));
        }
        const done = actions.map(({ type }) => type);
        for (const never of ['admit', 'ask', 'save', 'confirm', 'done']) expect(done).not.toContain(never);
      }),
      { numRuns: 100 },
    );
  });
});
