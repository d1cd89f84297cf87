import { AmeshError } from '../core/errors/amesh-error';
import { parseHosts } from '../core/wire/authority';
import { addDevice, confirmDevice } from '../trust/changes';
import type { Device } from '../trust/device';
import type { ListDraft } from '../trust/format/draft';
import type { DeviceEntry } from '../trust/format/entry';
import { namesakesOf } from '../trust/look-up';
import { Controller } from './ceremony/controller';
import { Conversation } from './conversation';
import { PAIRING_CODES } from './errors/codes';
import { ownIntroduction } from './own-introduction';
import { type Peer, toPeer } from './peer';
import { RelaySession } from './relay/session';
import { ANSWER_MS, MESSAGE_MS, TYPING_MS } from './relay/timeouts';
import { toRelayUrl } from './relay/url';

/** The person at the controller. */
export interface ControllerPerson {
  /** Show the code, which a person types on the target. The target is not verified until the codes match. */
  showCode(verificationCode: string, peer: Peer): void;
  /** Say, before the code is shown, that other devices in the list have the name of the target. There is at least one. */
  sharesName?(others: readonly DeviceEntry[], peer: Peer): void;
  /** Ask whether the target shows VERIFIED with this code. The promise may stay pending after the signal is aborted. */
  confirm(verificationCode: string, peer: Peer, signal: AbortSignal): Promise<boolean>;
}

/** One attempt of a controller to pair with the target that shows a code. */
export interface InviteOptions {
  /** This machine: the controller. */
  readonly device: Device;
  /** `ws://` or `wss://`. */
  readonly relay: string;
  /** The code of `amesh listen`: six digits. */
  readonly code: string;
  /**
   * The person who sees both screens. With `confirm: null` nobody compares the codes, so the hosts that the target reports are not
   * stored: a hostile relay could have inserted its own target. It can never insert a controller.
   */
  readonly person:
    | ControllerPerson
    | (Omit<ControllerPerson, 'confirm'> & {
        /** Asks nobody. */
        readonly confirm: null;
      });
  /** The authorities under which the target is called, instead of those that it reports. */
  readonly hosts?: readonly string[] | undefined;
  /** Cancels the attempt. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Pairs with the target that shows a code. One call is one attempt.
 *
 * @returns the target's entry in the allow list
 * @throws AmeshError `relay_unreachable`, `relay_busy`, `code_not_found`, `code_used`, `peer_gone`, `codes_differ`,
 *   `pairing_tampered`, `pairing_declined`, `pairing_version`, `own_key`, `host_taken`, all with nothing changed here;
 *   `pairing_unconfirmed` if the target is stored but did not confirm; TypeError for a wrong option
 * @see docs/pairing.md
 */
export async function inviteTarget(options: InviteOptions): Promise<DeviceEntry> {
  const { device, code, signal } = options;
  if (!/^[1-9][0-9]{5}$/.test(code))
    throw new TypeError('A pairing code must have 6 digits, and not begin with 0.');
  const relay = toRelayUrl(options.relay);
  const hosts = options.hosts === undefined ? undefined : parseHosts(options.hosts);
  await device.trust.readHead(); // so that a broken list is found before a code is used up

  const session = await RelaySession.join({ relay, signal }, code);
  try {
    const own = ownIntroduction(device, 'controller', []);
    const { signer } = device;
    return await pair(session, new Controller({ code, signer, own }), options, hosts);
  } finally {
    await session.end();
  }
}

/** The ceremony, from M1 to M8. */
async function pair(
  session: RelaySession,
  controller: Controller,
  { device, person }: InviteOptions,
  ownHosts: readonly string[] | undefined,
): Promise<DeviceEntry> {
  const conversation = new Conversation(session, controller, 'target');
  await conversation.take({ type: 'start' });

  const shown = await conversation.until('show', MESSAGE_MS);
  const peer = await toPeer(shown.peer);
  const hosts = ownHosts ?? (person.confirm === null ? [] : peer.hosts);
  const add = async (draft: ListDraft) => {
    await addDevice(draft, { ...peer, hosts, role: 'target', unconfirmed: true }, nowSeconds());
    return draft.device(peer.deviceId);
  };
  await device.trust.preview(add); // so that a host of another target is found before anybody types
  if (person.sharesName !== undefined) {
    const others = await namesakesOf(device.trust, peer);
    if (others.length > 0) person.sharesName(others, peer);
  }
  person.showCode(shown.verificationCode, peer);

  const { verificationCode } = await conversation.until('ask', TYPING_MS + ANSWER_MS + MESSAGE_MS);
  const { confirm } = person;
  const isConfirmed =
    confirm === null ||
    (await session.whileAsking(ANSWER_MS, notAnswered, (signal) =>
      confirm.call(person, verificationCode, peer, signal),
    ));
  if (!isConfirmed) return conversation.decline({ type: 'answer', yes: false }, cancelled());

  await conversation.take({ type: 'answer', yes: true });
  const { result: saved } = await device.trust.update(add);
  await conversation.take({ type: 'saved' });
  await conversation.until('confirm', MESSAGE_MS).catch(() => {
    throw unacknowledged(saved);
  });
  return confirmEntry(device, peer);
}

/** Both sides have written their lists: marks the target as confirmed. */
async function confirmEntry({ trust }: Device, { deviceId, friendlyName }: Peer): Promise<DeviceEntry> {
  const { result: target } = await trust
    .update(async (draft) => {
      await confirmDevice(draft, deviceId);
      return draft.device(deviceId);
    })
    .catch(() => {
      throw new AmeshError(
        PAIRING_CODES.pairing_unconfirmed,
        `"${friendlyName}" confirmed the pairing, but recording that failed.`,
      );
    });
  if (target !== undefined) return target;
  throw new AmeshError(
    PAIRING_CODES.pairing_unconfirmed,
    `"${friendlyName}" was revoked here before the pairing was complete.`,
    { fix: 'It now trusts this machine. If it should not, revoke this machine there.' },
  );
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

function cancelled(): AmeshError {
  return new AmeshError(PAIRING_CODES.pairing_declined, 'Cancelled.', { fix: '' });
}

function unacknowledged(saved: DeviceEntry | undefined): AmeshError {
  if (saved === undefined || saved.unconfirmed) return new AmeshError(PAIRING_CODES.pairing_unconfirmed);
  return new AmeshError(PAIRING_CODES.pairing_unconfirmed, 'The other machine did not confirm the pairing.', {
    fix: 'It stays trusted here, as before. If it refuses requests, pair again.',
  });
}

function notAnswered(): AmeshError {
  return new AmeshError(PAIRING_CODES.pairing_declined, 'Nobody answered within 60 s.', {
    fix: 'Start again on both machines.',
  });
}
