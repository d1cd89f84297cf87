import { createHash } from 'node:crypto';
import type { PrivateJwk, Signer } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { p256 } from '@noble/curves/nist.js';
import { toPrivateJwk } from '../../src/core/crypto/points';
import {
  Controller,
  type ControllerAction,
  type ControllerOptions,
} from '../../src/pairing/ceremony/controller';
import type { Introduction } from '../../src/pairing/ceremony/introduction';
import { Target, type TargetAction, type TargetOptions } from '../../src/pairing/ceremony/target';

export type Side = 'controller' | 'target';

/** A device as the ceremony knows it. */
export interface Party {
  readonly signer: Signer;
  readonly own: Introduction;
}

/** A key that is the same in every run. */
export function keyOf(label: string): PrivateJwk {
  const scalar = createHash('sha256').update(label).digest();
  return toPrivateJwk(scalar, p256.getPublicKey(scalar, false));
}

/** @param key default: a new one */
export async function newParty(
  role: Side,
  name: string,
  hosts: readonly string[] = [],
  key?: PrivateJwk,
): Promise<Party> {
  const signer = await nodeCrypto.importPrivateKey(key ?? (await nodeCrypto.generatePrivateKey()));
  return {
    signer,
    own: { role, publicKey: Buffer.from(signer.publicKey).toString('base64url'), name, hosts },
  };
}

/**
 * What the relay makes of a message: what it passes on to the other side, and what it sends back.
 *
 * @param index counts the messages of a side from 0
 */
export type Relay = (
  from: Side,
  index: number,
  body: string,
) => { on?: readonly string[]; back?: readonly string[] };

export const honest: Relay = (_from, _index, body) => ({ on: [body] });

export interface Outcome {
  /** Why each side says that it has ended; undefined where it waits for a message that will never come. */
  readonly failures: Readonly<Record<Side, string | undefined>>;
  readonly states: Readonly<Record<Side, string>>;
  /** The names that each allow list has got. */
  readonly saved: Readonly<Record<Side, readonly string[]>>;
  readonly confirmed: boolean;
  readonly codes: { shown: string | undefined; verified: string | undefined };
}

export interface CeremonyOptions {
  readonly relay?: Relay;
  readonly controller?: Partial<ControllerOptions> & Partial<Party>;
  readonly target?: Partial<TargetOptions> & Partial<Party>;
  /** What the human at the target types, given what the controller shows; default just that. */
  readonly types?: (shown: string) => readonly string[];
  /** Whether the human at the controller says yes; default: where the target says VERIFIED with the same code. */
  readonly says?: (shown: string, verified: string | undefined) => boolean;
}

let parties: { controller: Party; target: Party } | undefined;

/**
 * Runs the two real machines against each other until nothing moves any more, with two attentive people, who are
 * slower than any relay.
 */
export async function holdCeremony(options: CeremonyOptions = {}): Promise<Outcome> {
  parties ??= {
    controller: await newParty('controller', 'laptop'),
    target: await newParty('target', 'prod-api', ['api.example.com']),
  };
  const {
    relay = honest,
    types = (shown) => [shown],
    says = (shown, verified) => shown === verified,
  } = options;
  const controller = new Controller({ code: '482916', ...parties.controller, ...options.controller });
  const target = new Target({ code: '482916', ...parties.target, ...options.target });

  const failures: Record<Side, string | undefined> = { controller: undefined, target: undefined };
  const saved: Record<Side, string[]> = { controller: [], target: [] };
  const codes: Outcome['codes'] = { shown: undefined, verified: undefined };
  const sent = { controller: 0, target: 0 };
  const wire: { to: Side; body: string }[] = [];
  let toType: string[] = [];
  let asked: string | undefined;
  let confirmed = false;

  function send(from: Side, body: string): void {
    const to = from === 'controller' ? 'target' : 'controller';
    const { on = [], back = [] } = relay(from, sent[from]++, body);
    for (const message of on) wire.push({ to, body: message });
    for (const message of back) wire.push({ to: from, body: message });
  }

  async function perform(side: Side, actions: readonly (ControllerAction | TargetAction)[]): Promise<void> {
    for (const action of actions) {
      if (action.type === 'send') send(side, action.body);
      else if (action.type === 'fail') failures[side] = action.failure;
      else if (action.type === 'show') codes.shown = action.verificationCode;
      else if (action.type === 'confirm') confirmed = true;
      else if (action.type === 'save') {
        saved[side].push(action.peer.name);
        const event = { type: 'saved' } as const;
        await perform(side, await (side === 'controller' ? controller : target).handle(event));
      } else if (action.type === 'admit') {
        codes.verified = action.verificationCode;
        await perform('target', await target.handle({ type: 'admitted', yes: true }));
      } else if (action.type === 'ask') {
        asked = action.verificationCode;
      }
    }
  }

  await perform('controller', await controller.handle({ type: 'start' }));
  for (let turn = 0; turn < 200; turn++) {
    const message = wire.shift();
    if (message !== undefined) {
      const event = { type: 'message', body: message.body } as const;
      await perform(message.to, await (message.to === 'controller' ? controller : target).handle(event));
    } else if (target.state === 'typing' && codes.shown !== undefined) {
      if (toType.length === 0) toType = [...types(codes.shown)];
      const text = toType.shift();
      if (text === undefined) break;
      await perform('target', await target.handle({ type: 'typed', text }));
    } else if (asked !== undefined) {
      const yes = says(asked, codes.verified);
      asked = undefined;
      await perform('controller', await controller.handle({ type: 'answer', yes }));
    } else {
      break;
    }
  }
  const states = { controller: controller.state, target: target.state };
  return { failures, states, saved, confirmed, codes };
}
