import { setTimeout as sleep } from 'node:timers/promises';
import type { ControllerPerson, Device } from '@authmesh/sdk/admin';
import { describe, expect, it, vi } from 'vitest';
import { type MessageName, standBetween, type Tamper } from '../support/between';
import { pair, type Trust, trustBetween } from '../support/pairing';
import { useDevices } from '../support/use-devices';
import { useRelay } from '../support/use-relay';

// The same waits, shorter: nothing else of the clients is another here.
vi.mock('../../src/pairing/relay/timeouts', () => ({
  MESSAGE_MS: 1500,
  TYPING_MS: 4000,
  ANSWER_MS: 1000,
  GRACE_MS: 1000,
}));

const createDevice = useDevices();
const relay = useRelay();

const slowly = { confirm: () => new Promise<never>(() => {}) };

/** A pairing with somebody on the line. What it has left behind is healed by the next one. */
async function attack(
  tamper: Tamper,
  devices?: { controller: Device; target: Device },
  atController: Partial<ControllerPerson> = {},
) {
  const controller = devices?.controller ?? (await createDevice('laptop'));
  const target = devices?.target ?? (await createDevice('prod-api'));
  const between = await standBetween(relay.port, tamper);
  try {
    const ended = await pair({ controller, target, relay: between.url, atController });
    const left = await trustBetween(controller, target);
    if (left !== 'none') {
      const again = await pair({ controller, target, relay: relay.url });
      expect(again.errors).toEqual({});
      expect(await trustBetween(controller, target)).toBe('paired');
    }
    const codes = [ended.controller, ended.target].map((end) => (typeof end === 'string' ? end : 'ok'));
    return { left, codes, ended };
  } finally {
    await between.close();
  }
}

const only =
  (name: MessageName, act: Tamper): Tamper =>
  (...message) =>
    message[0] === name ? act(...message) : message[2].pass(message[1]);

/** What the relay or the line does to one message, and how it ends: controller, target, what is left. */
type End = readonly [controller: string, target: string, left: Trust];

const GONE: End = ['peer_gone', 'peer_gone', 'none'];
const UNSAID: End = ['pairing_unconfirmed', 'ok', 'unconfirmed, trusted'];
const UNDONE: End = ['pairing_unconfirmed', 'peer_gone', 'unconfirmed, none'];

describe.concurrent('a message that is dropped', () => {
  it.concurrent.each<[MessageName, ...End]>([
    ['M1', ...GONE],
    ['M2', ...GONE],
    ['M3', 'peer_gone', 'pairing_tampered', 'none'], // M4 comes in its place
    ['M4', ...GONE],
    ['M5', 'peer_gone', 'peer_gone', 'none'],
    ['M6', 'peer_gone', 'peer_gone', 'none'],
    ['M7', ...UNDONE],
    ['M8', ...UNSAID],
  ])('%s', async (name, ...end) => {
    const { codes, left } = await attack(only(name, () => {}));
    expect([...codes, left]).toEqual(end);
  });
});

describe.concurrent('a connection that is cut instead of', () => {
  it.concurrent.each<[MessageName, ...End]>([
    ['M1', 'relay_unreachable', 'peer_gone', 'none'],
    ['M2', 'peer_gone', 'relay_unreachable', 'none'],
    ['M3', 'relay_unreachable', 'peer_gone', 'none'],
    ['M4', 'relay_unreachable', 'peer_gone', 'none'],
    ['M5', 'peer_gone', 'relay_unreachable', 'none'],
    ['M6', 'peer_gone', 'relay_unreachable', 'none'],
    ['M7', ...UNDONE],
    ['M8', ...UNSAID],
  ])('%s', async (name, ...end) => {
    const { codes, left } = await attack(only(name, (_, __, { cut }) => cut()));
    expect([...codes, left]).toEqual(end);
  });
});

describe.concurrent('a connection that is cut after', () => {
  it.concurrent.each<[MessageName, ...End]>([
    ['M1', 'relay_unreachable', 'peer_gone', 'none'],
    ['M2', 'peer_gone', 'relay_unreachable', 'none'],
    ['M3', 'relay_unreachable', 'peer_gone', 'none'],
    ['M4', 'relay_unreachable', 'peer_gone', 'none'],
    ['M5', 'peer_gone', 'relay_unreachable', 'none'],
    ['M6', 'peer_gone', 'relay_unreachable', 'none'],
    ['M7', 'pairing_unconfirmed', 'pairing_unconfirmed', 'unconfirmed, trusted'],
    ['M8', 'ok', 'ok', 'paired'],
  ])('%s', async (name, ...end) => {
    const { codes, left } = await attack(
      only(name, (_, frame, { pass, cut }) => {
        pass(frame);
        cut();
      }),
      undefined,
      name === 'M6' ? slowly : {}, // or the answer may be there first
    );
    // The target may have written before it hears that the controller is gone, or after.
    if (name === 'M7' && codes[1] === 'ok') codes[1] = 'pairing_unconfirmed';
    expect([...codes, left]).toEqual(end);
  });
});

const bodyOf = (frame: string) => (JSON.parse(frame) as { body: string }).body;
const withBody = (body: string) => JSON.stringify({ type: 'msg', body });

describe.concurrent('a message that is changed', () => {
  const CHANGES: Record<string, (body: string) => string> = {
    'cut short': (body) => body.slice(0, -1),
    'another in one character': (body) => {
      const at = body.length - 10;
      return body.slice(0, at) + (body[at] === 'A' ? 'B' : 'A') + body.slice(at + 1);
    },
  };
  const CASES = Object.keys(CHANGES).flatMap((change) =>
    (['M1', 'M2', 'M3', 'M4', 'M5', 'M6', 'M7', 'M8'] as const).map((name) => [name, change] as const),
  );
  it.concurrent.each(CASES)('%s, %s', async (name, change) => {
    const { codes, left, ended } = await attack(
      only(name, (_, frame, { pass }) => pass(withBody(CHANGES[change]?.(bodyOf(frame)) ?? ''))),
    );
    const expected: Trust =
      name === 'M7' ? 'unconfirmed, none' : name === 'M8' ? 'unconfirmed, trusted' : 'none';
    expect(left).toBe(expected);
    if (name === 'M7') expect(codes).toEqual(['pairing_unconfirmed', 'pairing_tampered']);
    else if (name === 'M8') expect(codes).toEqual(['pairing_unconfirmed', 'ok']);
    else expect(codes).toContain('pairing_tampered');
    if (left === 'none' && codes.includes('ok')) throw new Error(JSON.stringify(ended));
  });
});

describe.concurrent('a message that comes twice', () => {
  it.concurrent.each<[MessageName, ...End]>([
    ['M1', 'peer_gone', 'pairing_tampered', 'none'],
    ['M2', 'pairing_tampered', 'peer_gone', 'none'],
    ['M3', 'peer_gone', 'pairing_tampered', 'none'],
    ['M4', 'peer_gone', 'pairing_tampered', 'none'],
    ['M5', 'pairing_tampered', 'peer_gone', 'none'],
    ['M6', 'pairing_tampered', 'peer_gone', 'none'],
    ['M7', 'ok', 'ok', 'paired'],
    ['M8', 'ok', 'ok', 'paired'],
  ])('%s', async (name, ...end) => {
    const { codes, left } = await attack(
      only(name, (_, frame, { pass }) => {
        pass(frame);
        pass(frame);
      }),
      undefined,
      name === 'M6' ? slowly : {},
    );
    expect([...codes, left]).toEqual(end);
  });
});

describe.concurrent('a message that is late', () => {
  it.concurrent('changes nothing if it still arrives in time', async () => {
    const { codes, left } = await attack((_, frame, { pass }) => sleep(100).then(() => pass(frame)));
    expect([...codes, left]).toEqual(['ok', 'ok', 'paired']);
  });

  it.concurrent('leaves the row unconfirmed if it is the last one and too late', async () => {
    const { codes, left } = await attack(
      only('M8', (_, frame, { pass }) => sleep(2500).then(() => pass(frame))),
    );
    expect([...codes, left]).toEqual(UNSAID);
  });
});

it('leaves a target that was confirmed before unchanged', async () => {
  const devices = { controller: await createDevice('laptop'), target: await createDevice('prod-api') };
  await pair({ ...devices, relay: relay.url });
  for (const name of ['M5', 'M7', 'M8'] as const) {
    const { left, ended } = await attack(
      only(name, (_, __, { cut }) => cut()),
      devices,
    );
    expect(left).toBe('paired');
    if (name === 'M5') expect(ended.controller).toBe('peer_gone');
    else expect((ended.errors.controller as Error).message).toContain('It stays trusted here');
  }
});
