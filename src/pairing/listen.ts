import { AmeshError } from '../core/errors/amesh-error';
import { parseHosts } from '../core/wire/authority';
import { addDevice, dismissController, setHosts } from '../trust/changes';
import type { Device } from '../trust/device';
import type { ListDraft } from '../trust/format/draft';
import type { DeviceEntry } from '../trust/format/entry';
import type { ListHead } from '../trust/format/head';
import { namesakesOf } from '../trust/look-up';
import { mayCall } from '../trust/rights/ends';
import { toScopes } from '../trust/rights/scopes';
import { assertIntroduction, hostsThatFit } from './ceremony/introduction';
import { Target, type TargetAction, type TargetEvent, type WrongCode } from './ceremony/target';
import { Conversation } from './conversation';
import { PAIRING_CODES } from './errors/codes';
import { ownIntroduction } from './own-introduction';
import { type Peer, toPeer } from './peer';
import { RelaySession } from './relay/session';
import { ANSWER_MS, MESSAGE_MS, TYPING_MS } from './relay/timeouts';
import { toRelayUrl } from './relay/url';

/** The person at the target. A promise may stay pending after its signal is aborted. */
export interface TargetPerson {
  /** Show the pairing code, which is six digits. */
  showCode(code: string, expiresInSeconds: number): void;
  /** Say that somebody else tried the code. Called once. */
  intruder(): void;
  /** Say that a machine has used the code. */
  connected(): void;
  /** Ask for the code on the controller's screen. */
  typeCode(signal: AbortSignal): Promise<string>;
  /** Say that the typed text is wrong. */
  wrongCode(facts: WrongCode): void;
  /** Ask whether to remove these controllers, at least one, to make room for the new one. */
  replace(old: readonly DeviceEntry[], peer: Peer, signal: AbortSignal): Promise<boolean>;
  /**
   * Ask whether to trust a device although others in the list have the same name. There is at least one. Default: nobody is asked,
   * since no check uses a name.
   */
  shareName?(others: readonly DeviceEntry[], peer: Peer, signal: AbortSignal): Promise<boolean>;
  /** Show that the codes match: the person at the controller waits for these exact words. */
  verified(verificationCode: string): void;
}

/** One attempt of a target to pair with a controller. */
export interface ListenOptions {
  /** This machine: the target. */
  readonly device: Device;
  /** `ws://` or `wss://`. */
  readonly relay: string;
  /** The person at this machine. */
  readonly person: TargetPerson;
  /** The authorities under which callers reach this device, in addition to those in the list; stored after pairing. */
  readonly hosts?: readonly string[] | undefined;
  /** The most controllers; default: no limit. */
  readonly maxControllers?: number | undefined;
  /** Scopes for the controller, in addition to those that it has; default none. */
  readonly scopes?: readonly string[] | undefined;
  /** Whether the servers of this device can prove their answers, which the controller remembers; default true. */
  readonly proves?: boolean | undefined;
  /** Cancels the attempt, before anything is written. */
  readonly signal?: AbortSignal | undefined;
}

/** What a pairing changed here. */
export interface ListenResult {
  /** The controller's entry in the allow list. */
  readonly controller: DeviceEntry;
  /** The controllers that were removed to make room; usually none. */
  readonly replaced: readonly DeviceEntry[];
  /** The current head of the allow list. */
  readonly head: ListHead;
}

/**
 * Waits for one controller and pairs with it. One call is one attempt: after an error nothing listens any more.
 *
 * @throws AmeshError `relay_unreachable`, `relay_busy`, `code_expired`, `peer_gone`, `codes_differ`,
 *   `pairing_tampered`, `pairing_declined`, `pairing_version`, `own_key`, `too_many_scopes`, all with nothing changed here;
 *   `pairing_unconfirmed` if the controller is trusted but does not know that; TypeError for a wrong option, or for more
 *   hosts than an introduction can have
 * @see docs/pairing.md
 */
export async function listenForController(options: ListenOptions): Promise<ListenResult> {
  const { device, person, signal, maxControllers } = options;
  const relay = toRelayUrl(options.relay);
  const ownHosts = parseHosts(options.hosts ?? []);
  if (maxControllers !== undefined && !(Number.isSafeInteger(maxControllers) && maxControllers >= 1))
    throw new TypeError('maxControllers is a whole number, at least 1.');
  toScopes(options.scopes ?? []); // before anybody uses the code
  const before = await device.trust.readHead();
  const { signer } = device;
  const more = options.proves === false ? { proves: false as const } : {};
  const introduced = ownIntroduction(device, 'target', ownHosts, more);
  assertIntroduction(introduced, 'target', signer); // before anybody uses the code
  const own = { ...introduced, hosts: hostsThatFit([...new Set([...ownHosts, ...before.hosts])]) };

  const onIntruder = () => person.intruder();
  const { session, code, expiresInSeconds } = await RelaySession.listen({ relay, signal, onIntruder });
  try {
    person.showCode(code, expiresInSeconds);
    await session.peer(expiresInSeconds);
    person.connected();
    return await pair(session, new Target({ code, signer, own }), options, ownHosts);
  } finally {
    await session.end();
  }
}

/** The ceremony, from M1 to M8. */
async function pair(
  session: RelaySession,
  target: Target,
  options: ListenOptions,
  ownHosts: readonly string[],
): Promise<ListenResult> {
  const { person } = options;
  const conversation = new Conversation(session, target, 'controller');

  await conversation.until('ask_code', MESSAGE_MS);
  const admit = await readCode(session, conversation, person);
  const peer = await toPeer(admit.peer);
  if (!(await mayShareName(session, options, peer)))
    return conversation.decline({ type: 'admitted', yes: false }, nameTaken(peer));
  const replaced = await makeRoom(session, options, peer);
  if (replaced === null) return conversation.decline({ type: 'admitted', yes: false }, noRoom());
  await conversation.take({ type: 'admitted', yes: true });
  person.verified(admit.verificationCode);

  await conversation.until('save', ANSWER_MS + MESSAGE_MS);
  const result = await save(options, peer, replaced, ownHosts);
  await conversation.take({ type: 'saved' });
  if (session.isOver) throw unacknowledged(result.controller);
  return result;
}

/** Asks for the code until it is right. */
async function readCode(
  session: RelaySession,
  conversation: Conversation<TargetEvent, TargetAction>,
  person: TargetPerson,
): Promise<Extract<TargetAction, { type: 'admit' }>> {
  const endsAtMs = performance.now() + TYPING_MS;
  for (;;) {
    const leftMs = endsAtMs - performance.now();
    const text = await session.whileAsking(leftMs, notTyped, (signal) => person.typeCode(signal));
    for (const action of await conversation.take({ type: 'typed', text })) {
      if (action.type === 'admit') return action;
      if (action.type === 'again') person.wrongCode(action);
    }
  }
}

/** Asks whether a new device may have the name of a known one. */
async function mayShareName(
  session: RelaySession,
  { device, person }: ListenOptions,
  peer: Peer,
): Promise<boolean> {
  if (person.shareName === undefined) return true;
  const others = await namesakesOf(device.trust, peer);
  if (others.length === 0) return true;
  return session.whileAsking(
    ANSWER_MS,
    notAnswered,
    async (signal) => (await person.shareName?.(others, peer, signal)) ?? true,
  );
}

/**
 * Asks whether to remove controllers, if there is no room for one more.
 *
 * @returns the controllers to remove, usually none; null if the person says no
 */
async function makeRoom(
  session: RelaySession,
  { device, person, maxControllers }: ListenOptions,
  peer: Peer,
): Promise<readonly DeviceEntry[] | null> {
  const inTheWay = await device.trust.preview((draft) => controllersInTheWay(draft, peer, maxControllers));
  if (inTheWay.length === 0) return [];
  const isYes = await session.whileAsking(ANSWER_MS, notAnswered, (signal) =>
    person.replace(inTheWay, peer, signal),
  );
  return isYes ? inTheWay : null;
}

/** Writes the controller into the allow list, and removes those that it replaces. */
async function save(
  { device, maxControllers, scopes }: ListenOptions,
  peer: Peer,
  replaced: readonly DeviceEntry[],
  ownHosts: readonly string[],
): Promise<ListenResult> {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const { head, result } = await device.trust.update(async (draft) => {
    for (const { deviceId } of replaced) await dismissController(draft, deviceId, nowSeconds);
    const inTheWay = await controllersInTheWay(draft, peer, maxControllers);
    if (inTheWay.length > 0) throw noRoom(); // another controller was added in the meantime
    const trusted = { ...peer, role: 'controller', hosts: [], scopes, isTrustedAnew: true } as const;
    await addDevice(draft, trusted, nowSeconds);
    if (ownHosts.length > 0) setHosts(draft, [...draft.head.hosts, ...ownHosts]);
    return draft.device(peer.deviceId);
  });
  return { controller: result as DeviceEntry, replaced, head };
}

/** The controllers to remove to make room for one more: the oldest ones. Those that may not call any more take no room. */
async function controllersInTheWay(
  draft: ListDraft,
  peer: Peer,
  max = Number.POSITIVE_INFINITY,
): Promise<DeviceEntry[]> {
  if (max === Number.POSITIVE_INFINITY) return []; // without a limit, there is no need to read the whole list
  const nowSeconds = Math.floor(Date.now() / 1000);
  const controllers: DeviceEntry[] = [];
  for await (const device of draft.devices()) if (mayCall(device, nowSeconds)) controllers.push(device);
  const tooMany = controllers.length + 1 - max;
  if (tooMany <= 0 || controllers.some(({ deviceId }) => deviceId === peer.deviceId)) return [];
  return controllers.sort((a, b) => a.addedAt - b.addedAt).slice(0, tooMany);
}

function nameTaken({ friendlyName }: Peer): AmeshError {
  return new AmeshError(
    PAIRING_CODES.pairing_declined,
    `A second device called ${JSON.stringify(friendlyName)} was declined on this machine.`,
    { fix: 'Rename one of them with amesh rename, and start again.' },
  );
}

function noRoom(): AmeshError {
  return new AmeshError(PAIRING_CODES.pairing_declined, 'This machine keeps its existing controllers.', {
    fix: 'Make room with amesh revoke, or allow more with --max-controllers.',
  });
}

function unacknowledged({ friendlyName }: DeviceEntry): AmeshError {
  return new AmeshError(
    PAIRING_CODES.pairing_unconfirmed,
    `Paired with "${friendlyName}", which disconnected before it learned that.`,
    { fix: 'It may show this machine as unconfirmed. Its first successful request confirms it.' },
  );
}

function notTyped(): AmeshError {
  return new AmeshError(PAIRING_CODES.pairing_declined, 'No code was typed within 120 s.', {
    fix: 'Start again with',
    command: ['amesh', 'listen'],
  });
}

function notAnswered(): AmeshError {
  return new AmeshError(PAIRING_CODES.pairing_declined, 'Nobody answered within 60 s.', {
    fix: 'Start again with',
    command: ['amesh', 'listen'],
  });
}
