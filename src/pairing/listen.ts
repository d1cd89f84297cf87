import { toBase64Url } from '../core/encoding';
import { AmeshError } from '../core/errors/amesh-error';
import { parseHosts } from '../core/wire/authority';
import { addDevice, dismissController, setHosts } from '../trust/changes';
import type { Device } from '../trust/device';
import type { AllowListDocument, DeviceEntry } from '../trust/list/document';
import { cleanName } from '../trust/names';
import { assertIntroduction, hostsThatFit } from './introduction';
import { type Peer, toPairingError, toPeer } from './outcome';
import { ANSWER_MS, MESSAGE_MS, TYPING_MS } from './relay/patience';
import { RelaySession } from './relay/session';
import { toRelayUrl } from './relay/url';
import { Target, type TargetAction, type WrongCode } from './target';

/** The person at the target, and what they see. Every promise may be left alone once its signal is aborted. */
export interface TargetPerson {
  /** Show the pairing code, which is six digits. */
  showCode(code: string, expiresInSeconds: number): void;
  /** Somebody else has tried the code; told once. */
  intruder(): void;
  /** A machine has used the code. */
  connected(): void;
  /** Ask for the code on the controller's screen. */
  typeCode(signal: AbortSignal): Promise<string>;
  /** What was typed is wrong. */
  wrongCode(facts: WrongCode): void;
  /** Ask whether controllers, at least one, are to be let go to make room for this one. */
  replace(old: readonly DeviceEntry[], peer: Peer, signal: AbortSignal): Promise<boolean>;
  /** Show that the codes are the same: the person at the controller waits for these very words. */
  verified(verificationCode: string): void;
}

/** One attempt of a target to be paired with a controller. */
export interface ListenOptions {
  /** This machine: the target. */
  readonly device: Device;
  /** `ws://` or `wss://`. */
  readonly relay: string;
  /** Who sits at it. */
  readonly person: TargetPerson;
  /** Under which authorities callers reach this device, beside those of the list; stored once it is paired. */
  readonly hosts?: readonly string[] | undefined;
  /** How many controllers there may be; default: any number. */
  readonly maxControllers?: number | undefined;
  /** Ends it from outside, as long as nothing was written. */
  readonly signal?: AbortSignal | undefined;
}

/** What has come of it. */
export interface ListenResult {
  /** The controller, as it stands in the allow list now. */
  readonly controller: DeviceEntry;
  /** Those that made room for it; mostly none. */
  readonly replaced: readonly DeviceEntry[];
  /** The allow list, with both. */
  readonly document: AllowListDocument;
}

/**
 * Waits for one controller and pairs with it. One call is one attempt: after any error nothing listens any more.
 *
 * @throws AmeshError `relay_unreachable`, `relay_busy`, `code_expired`, `peer_gone`, `codes_differ`,
 *   `pairing_tampered`, `pairing_declined`, `pairing_version`, `own_key`: in all of them nothing has changed here;
 *   `pairing_unconfirmed` where the controller is trusted and could not be told; TypeError for a wrong option, or for
 *   more hosts than can be introduced
 * @see docs/pairing.md
 */
export async function listenForController(options: ListenOptions): Promise<ListenResult> {
  const { device, person, signal, maxControllers } = options;
  const relay = toRelayUrl(options.relay);
  const ownHosts = parseHosts(options.hosts ?? []);
  if (maxControllers !== undefined && !(Number.isSafeInteger(maxControllers) && maxControllers >= 1))
    throw new TypeError('maxControllers is a whole number, at least 1.');
  const before = await device.trust.read();
  const { identity, signer } = device;
  const introduced = {
    role: 'target' as const,
    publicKey: toBase64Url(signer.publicKey),
    name: cleanName(identity.friendlyName), // a person may have written into the file
    hosts: ownHosts,
  };
  assertIntroduction(introduced, 'target', signer); // not only once somebody has used the code
  const own = { ...introduced, hosts: hostsThatFit([...new Set([...ownHosts, ...before.hosts])]) };

  const onIntruder = () => person.intruder();
  const { session, code, expiresInSeconds } = await RelaySession.listen({ relay, signal, onIntruder });
  try {
    person.showCode(code, expiresInSeconds);
    await session.peer(expiresInSeconds);
    person.connected();
    return await hold(session, new Target({ code, signer, own }), options, ownHosts);
  } finally {
    await session.end();
  }
}

async function hold(
  session: RelaySession,
  target: Target,
  { device, person, maxControllers = Number.POSITIVE_INFINITY }: ListenOptions,
  ownHosts: readonly string[],
): Promise<ListenResult> {
  const todo: TargetAction[] = [];
  let typingUntil = 0;
  let admitted = true;
  let replaced: readonly DeviceEntry[] = [];
  let result: ListenResult | undefined;
  for (;;) {
    const action = todo.shift();
    switch (action?.type) {
      case undefined: {
        // Until the verdict is sent every message is due at once; then the person at the controller answers.
        const patience = target.state === 'waiting' ? ANSWER_MS + MESSAGE_MS : MESSAGE_MS;
        todo.push(...(await target.handle({ type: 'message', body: await session.receive(patience) })));
        break;
      }
      case 'send':
        session.send(action.body);
        break;
      case 'again':
      case 'ask_code': {
        if (action.type === 'again') person.wrongCode(action);
        else typingUntil = performance.now() + TYPING_MS;
        const left = typingUntil - performance.now();
        const text = await session.whileAsking(left, notTyped, (signal) => person.typeCode(signal));
        todo.push(...(await target.handle({ type: 'typed', text })));
        break;
      }
      case 'admit': {
        const peer = await toPeer(action.peer);
        const inTheWay = controllersInTheWay(await device.trust.read(), peer, maxControllers);
        if (inTheWay.length > 0) {
          admitted = await session.whileAsking(ANSWER_MS, notAnswered, (signal) =>
            person.replace(inTheWay, peer, signal),
          );
          if (admitted) replaced = inTheWay;
        }
        const next = await target.handle({ type: 'admitted', yes: admitted });
        for (const item of next) if (item.type === 'send') session.send(item.body);
        if (admitted) person.verified(action.verificationCode);
        todo.push(...next.filter(({ type }) => type !== 'send'));
        break;
      }
      case 'save': {
        const peer = await toPeer(action.peer);
        const nowSeconds = Math.floor(Date.now() / 1000);
        const document = await device.trust.update((list) => {
          const roomy = replaced.reduce(
            (rest, { deviceId }) => dismissController(rest, deviceId, nowSeconds),
            list,
          );
          if (controllersInTheWay(roomy, peer, maxControllers).length > 0) throw noRoom(); // somebody came meanwhile
          const trusted = addDevice(roomy, { ...peer, role: 'controller', hosts: [] }, nowSeconds);
          return ownHosts.length === 0 ? trusted : setHosts(trusted, [...trusted.hosts, ...ownHosts]);
        });
        const controller = document.devices.find(({ deviceId }) => deviceId === peer.deviceId) as DeviceEntry;
        result = { controller, replaced, document };
        todo.push(...(await target.handle({ type: 'saved' })));
        if (session.isOver) throw unacknowledged(controller);
        break;
      }
      case 'done':
        return result as ListenResult;
      case 'fail':
        if (action.failure === 'declined' && !admitted) throw noRoom();
        throw toPairingError(action.failure, 'controller');
    }
  }
}

/** Who would have to go so that there is room for one more: those that were added first. */
function controllersInTheWay({ devices }: AllowListDocument, peer: Peer, max: number): DeviceEntry[] {
  const controllers = devices.filter(({ roles }) => roles.includes('controller'));
  const tooMany = controllers.length + 1 - max;
  if (tooMany <= 0 || controllers.some(({ deviceId }) => deviceId === peer.deviceId)) return [];
  return controllers.sort((a, b) => a.addedAt - b.addedAt).slice(0, tooMany);
}

function noRoom(): AmeshError {
  return new AmeshError('pairing_declined', 'This machine keeps the controllers that it has.', {
    fix: 'Make room with amesh revoke, or allow more with --max-controllers.',
  });
}

function unacknowledged({ friendlyName }: DeviceEntry): AmeshError {
  return new AmeshError(
    'pairing_unconfirmed',
    `Paired with "${friendlyName}", which went away before it could be told.`,
    { fix: 'It may show this machine as unconfirmed; its first answered request confirms it.' },
  );
}

function notTyped(): AmeshError {
  return new AmeshError('pairing_declined', 'No code was typed within 120 s.', {
    fix: 'Start again with: amesh listen',
  });
}

function notAnswered(): AmeshError {
  return new AmeshError('pairing_declined', 'Nobody answered within 60 s.', {
    fix: 'Start again with: amesh listen',
  });
}
