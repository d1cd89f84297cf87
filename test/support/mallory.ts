import type { ControllerAction } from '../../src/pairing/ceremony/controller';
import type { KeySchedule } from '../../src/pairing/ceremony/key-schedule';
import type { Ephemeral } from '../../src/pairing/ceremony/suite';
import type { TargetAction } from '../../src/pairing/ceremony/target';
import type { Party, Side } from './ceremony';
import type { Pairing } from './pairing-build';

type Machine<S extends Side> = InstanceType<Pairing[S extends 'controller' ? 'Controller' : 'Target']>;

/** The messages among the actions. */
export function sent(actions: readonly (ControllerAction | TargetAction)[]): string[] {
  return actions.flatMap((action) => (action.type === 'send' ? [action.body] : []));
}

/** What somebody knows who has come so far with a machine that both have the keys. */
export interface Leg {
  readonly keys: KeySchedule;
  readonly channel: Awaited<ReturnType<Pairing['Channel']['create']>>;
}

export interface LegOptions {
  readonly code: string;
  /** Default: a new one. */
  readonly ephemeral?: Ephemeral | undefined;
  /** 32 bytes; default: new ones. */
  readonly nonce?: Uint8Array | undefined;
}

const random = () => crypto.getRandomValues(new Uint8Array(32));

/** Plays the target for a real controller, up to M4. */
export async function meetController(
  pairing: Pairing,
  controller: Machine<'controller'>,
  { code, ephemeral, nonce }: LegOptions,
): Promise<Leg & { readonly m4: Record<string, unknown> }> {
  const own = ephemeral ?? (await pairing.newEphemeral());
  const [m1] = sent(await controller.handle({ type: 'start' })) as [string];
  const m2 = pairing.writeM2({ eT: own.publicKey, nT: nonce ?? random() });
  const [m3, m4] = sent(await controller.handle({ type: 'message', body: m2 })) as [string, string];
  const keys = await pairing.deriveKeys(await own.agree(pairing.readM3(m3).eC), code, [m1, m2, m3]);
  const channel = await pairing.Channel.create(keys, 'target');
  return { keys, channel, m4: await channel.open('m4', m4) };
}

/** What can still be chosen after M2, by who is not held to his commitment. */
export interface Revealing {
  /** The x coordinate of the shared point, 32 bytes. */
  readonly z: Uint8Array;
  readonly code: string;
  readonly m1: string;
  readonly m2: string;
  readonly eC: Uint8Array;
}

/** Plays the controller for a real target, up to M3. */
export async function meetTarget(
  pairing: Pairing,
  target: Machine<'target'>,
  { code, ephemeral, nonce = random(), reveal }: LegOptions & { reveal?: (known: Revealing) => Uint8Array },
): Promise<Leg & { readonly failure: string | undefined }> {
  const own = ephemeral ?? (await pairing.newEphemeral());
  const eC = own.publicKey;
  const m1 = pairing.writeM1({ com: await pairing.commitment(eC, nonce) });
  const [m2] = sent(await target.handle({ type: 'message', body: m1 })) as [string];
  const z = await own.agree(pairing.readM2(m2).eT);
  const m3 = pairing.writeM3({ eC, nC: reveal?.({ z, code, m1, m2, eC }) ?? nonce });
  const [failed] = await target.handle({ type: 'message', body: m3 });
  const keys = await pairing.deriveKeys(z, code, [m1, m2, m3]);
  const channel = await pairing.Channel.create(keys, 'controller');
  return { keys, channel, failure: failed?.type === 'fail' ? failed.failure : undefined };
}

/** What Mallory knows when it is time to introduce herself to the controller as its target. */
export interface Introducing {
  readonly toController: Leg;
  readonly toTarget: Leg;
  /** Who is who on the leg to the target, whose code is settled. */
  readonly settled: { readonly controller: Party['own']; readonly target: Party['own'] };
  /** The controller, as it has introduced itself. */
  readonly controller: Party['own'];
}

/** Where a relay does more than to hold a ceremony of its own with each side. */
export interface Strategy {
  /** Another nonce for M3 than the one in the commitment, once the controller's code is known. */
  readonly reveal?: (known: Revealing, wanted: string) => Uint8Array;
  /** Another introduction in M5, once the target's code is known. */
  readonly introduce?: (known: Introducing, own: Party['own']) => Party['own'];
}

export interface BetweenOptions {
  readonly pairing: Pairing;
  readonly parties: Readonly<Record<Side, Party>>;
  readonly mallory: Readonly<Record<Side, Party>>;
  readonly strategy?: Strategy;
  /** What the one at the controller answers; default: yes if the target says VERIFIED. */
  readonly says?: (verified: boolean) => boolean;
  /** Keys and nonces of all four; default: new ones. */
  readonly fixed?: Readonly<
    Record<'controller' | 'target' | 'toController' | 'toTarget', Partial<LegOptions>>
  >;
}

export interface BetweenOutcome {
  /** On the controller's screen. */
  readonly shown: string;
  /** The one that the target waits for, as far as Mallory can tell. */
  readonly expected: string;
  /** The target took the code on the controller's screen for its own. */
  readonly verified: boolean;
  /** The public keys that each allow list has got. */
  readonly saved: Readonly<Record<Side, readonly string[]>>;
  readonly states: Readonly<Record<Side, string>>;
  readonly failures: Readonly<Record<Side, string | undefined>>;
}

const CODE = '482916';

/**
 * A relay that knows the pairing code and holds a ceremony of its own with each side, with two attentive people: the
 * one at the target types what the controller shows, and types it again when it is wrong; the one at the controller
 * says yes only if the target says VERIFIED.
 */
export async function holdBetween(options: BetweenOptions): Promise<BetweenOutcome> {
  const { pairing, parties, mallory, strategy = {}, says = (verified) => verified, fixed } = options;
  const controller = new pairing.Controller({ code: CODE, ...parties.controller, ...fixed?.controller });
  const target = new pairing.Target({ code: CODE, ...parties.target, ...fixed?.target });
  const failures: Record<Side, string | undefined> = { controller: undefined, target: undefined };
  const saved: Record<Side, string[]> = { controller: [], target: [] };
  const states = () => ({ controller: controller.state, target: target.state });

  /** What a machine is given, and what it wants done about it. */
  async function tell<S extends Side>(side: S, event: Parameters<Machine<S>['handle']>[0]) {
    const machine = side === 'controller' ? controller : target;
    const actions = await (
      machine.handle as (event: unknown) => Promise<readonly (ControllerAction | TargetAction)[]>
    ).call(machine, event);
    for (const action of actions) {
      if (action.type === 'fail') failures[side] = action.failure;
      if (action.type === 'save') saved[side].push(action.peer.publicKey);
    }
    return actions;
  }
  const deliver = <S extends Side>(side: S, body: string) => tell(side, { type: 'message', body } as never);

  const toController = await meetController(pairing, controller, { code: CODE, ...fixed?.toController });
  const { reveal, introduce } = strategy;
  const toTarget = await meetTarget(pairing, target, {
    code: CODE,
    ...fixed?.toTarget,
    ...(reveal && { reveal: (known) => reveal(known, toController.keys.verificationCode) }),
  });
  failures.target = toTarget.failure;
  const m4 = await pairing.writeIntroduction(
    toTarget.keys.th,
    mallory.controller.own,
    mallory.controller.signer,
  );
  const [m5] = sent(await deliver('target', await toTarget.channel.seal('m4', m4)));
  let expected = toTarget.keys.verificationCode;
  let own = mallory.target.own;
  if (m5 !== undefined) {
    const settled = {
      controller: mallory.controller.own,
      target: (await toTarget.channel.open('m5', m5)) as unknown as Party['own'],
    };
    const known = { toController, toTarget, settled, controller: toController.m4 as unknown as Party['own'] };
    own = introduce?.(known, own) ?? own;
  }
  const introduction = await pairing.writeIntroduction(toController.keys.th, own, mallory.target.signer);
  const [show] = await deliver('controller', await toController.channel.seal('m5', introduction));
  const shown = show?.type === 'show' ? show.verificationCode : '';

  let verified = false;
  for (let tries = 0; tries < 3 && target.state === 'typing'; tries++) {
    for (const action of await tell('target', { type: 'typed', text: shown })) {
      if (action.type !== 'admit') continue;
      verified = true;
      expected = action.verificationCode;
      await tell('target', { type: 'admitted', yes: true });
    }
  }
  const verdict = await toController.channel.seal('m6', {}); // with or without one of the target
  await deliver('controller', verdict);
  await tell('controller', { type: 'answer', yes: says(verified) });
  if (saved.controller.length > 0) {
    await tell('controller', { type: 'saved' });
    await deliver('target', await toTarget.channel.seal('m7', {}));
  }
  return { shown, expected, verified, saved, states: states(), failures };
}
