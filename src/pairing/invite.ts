import { toBase64Url } from '../core/encoding';
import { AmeshError } from '../core/errors/amesh-error';
import { parseHosts } from '../core/wire/authority';
import { addDevice, confirmDevice } from '../trust/changes';
import type { Device } from '../trust/device';
import type { DeviceEntry } from '../trust/list/document';
import { cleanName } from '../trust/names';
import { Controller, type ControllerAction } from './controller';
import { type Peer, toPairingError, toPeer } from './outcome';
import { ANSWER_MS, MESSAGE_MS, TYPING_MS } from './relay/patience';
import { RelaySession } from './relay/session';
import { toRelayUrl } from './relay/url';

/** The person at the controller, and what they see. */
export interface ControllerPerson {
  /** A machine was found; it is who it says once the codes are the same. Show the code, to be typed there. */
  showCode(verificationCode: string, peer: Peer): void;
  /** Ask whether the target says VERIFIED with this code. May be left alone once the signal is aborted. */
  confirm(verificationCode: string, peer: Peer, signal: AbortSignal): Promise<boolean>;
}

/** One attempt of a controller to be paired with the target that shows a code. */
export interface InviteOptions {
  /** This machine: the controller. */
  readonly device: Device;
  /** `ws://` or `wss://`. */
  readonly relay: string;
  /** What `amesh listen` shows: six digits. */
  readonly code: string;
  /**
   * The person who looks at both screens; null where nobody does. Then no host that the target names is stored: a
   * hostile relay could have put a target of its own in its place, though never a controller.
   */
  readonly person:
    | ControllerPerson
    | (Omit<ControllerPerson, 'confirm'> & {
        /** Nobody is asked. */
        readonly confirm: null;
      });
  /** The authorities at which the target is called, in place of those that it names. */
  readonly hosts?: readonly string[] | undefined;
  /** Ends it from outside. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Pairs with the target that shows a code. One call is one attempt.
 *
 * @returns the target, as it stands in the allow list now
 * @throws AmeshError `relay_unreachable`, `relay_busy`, `code_not_found`, `code_used`, `peer_gone`, `codes_differ`,
 *   `pairing_tampered`, `pairing_declined`, `pairing_version`, `own_key`, `host_taken`: in all of them nothing has
 *   changed here; `pairing_unconfirmed` where the target is saved and has not acknowledged; TypeError for a wrong option
 * @see docs/pairing.md
 */
export async function inviteTarget(options: InviteOptions): Promise<DeviceEntry> {
  const { device, code, signal } = options;
  if (!/^[1-9][0-9]{5}$/.test(code))
    throw new TypeError('A pairing code is 6 digits, the first of them not 0.');
  const relay = toRelayUrl(options.relay);
  const hosts = options.hosts === undefined ? undefined : parseHosts(options.hosts);
  await device.trust.read(); // a broken list is found before a code is used up

  const session = await RelaySession.join({ relay, signal }, code);
  try {
    const { identity, signer } = device;
    const own = {
      role: 'controller' as const,
      publicKey: toBase64Url(signer.publicKey),
      name: cleanName(identity.friendlyName), // a person may have written into the file
      hosts: [],
    };
    return await hold(session, new Controller({ code, signer, own }), options, hosts);
  } finally {
    await session.end();
  }
}

async function hold(
  session: RelaySession,
  controller: Controller,
  { device, person }: InviteOptions,
  ownHosts: readonly string[] | undefined,
): Promise<DeviceEntry> {
  const todo: ControllerAction[] = [...(await controller.handle({ type: 'start' }))];
  let saved: DeviceEntry | undefined;

  /** As it is to be stored, if it can be. */
  async function accept(action: ControllerAction & { peer: Parameters<typeof toPeer>[0] }) {
    const peer = await toPeer(action.peer);
    const hosts = ownHosts ?? (person.confirm === null ? [] : peer.hosts);
    const entry = { ...peer, hosts, role: 'target' as const, unconfirmed: true as const };
    return { peer, change: (list: Parameters<typeof addDevice>[0]) => addDevice(list, entry, now()) };
  }

  for (;;) {
    const action = todo.shift();
    switch (action?.type) {
      case undefined: {
        const patience = controller.state === 'showing' ? TYPING_MS + ANSWER_MS + MESSAGE_MS : MESSAGE_MS;
        const receive = session.receive(patience);
        const body = await (saved === undefined ? receive : receive.catch(() => unacknowledged(saved)));
        todo.push(...(await controller.handle({ type: 'message', body })));
        break;
      }
      case 'send':
        session.send(action.body);
        break;
      case 'show': {
        const { peer, change } = await accept(action);
        change(await device.trust.read()); // a host that is taken is found before anybody types
        person.showCode(action.verificationCode, peer);
        break;
      }
      case 'ask': {
        const { peer } = await accept(action);
        const { confirm } = person;
        const yes =
          confirm === null ||
          (await session.whileAsking(ANSWER_MS, notAnswered, (signal) =>
            confirm.call(person, action.verificationCode, peer, signal),
          ));
        const next = await controller.handle({ type: 'answer', yes });
        if (!yes) {
          for (const item of next) if (item.type === 'send') session.send(item.body);
          throw new AmeshError('pairing_declined', 'Cancelled.', { fix: '' });
        }
        todo.push(...next);
        break;
      }
      case 'save': {
        const { peer, change } = await accept(action);
        const { devices } = await device.trust.update(change);
        saved = devices.find(({ deviceId }) => deviceId === peer.deviceId) as DeviceEntry;
        todo.push(...(await controller.handle({ type: 'saved' })));
        break;
      }
      case 'confirm': {
        const { deviceId, friendlyName } = saved as DeviceEntry;
        const { devices } = await device.trust
          .update((list) => confirmDevice(list, deviceId))
          .catch(() => {
            throw new AmeshError(
              'pairing_unconfirmed',
              `"${friendlyName}" has acknowledged; noting it down failed.`,
            );
          });
        const target = devices.find((entry) => entry.deviceId === deviceId);
        if (target !== undefined) return target;
        throw new AmeshError(
          'pairing_unconfirmed',
          `"${friendlyName}" was revoked here before the pairing was over.`,
          {
            fix: 'It trusts this machine now. If it should not, revoke this machine there.',
          },
        );
      }
      case 'fail':
        if (action.unconfirmed) return unacknowledged(saved);
        throw toPairingError(action.failure, 'target');
    }
  }
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}

function unacknowledged(saved: DeviceEntry | undefined): never {
  if (saved === undefined || saved.unconfirmed) throw new AmeshError('pairing_unconfirmed');
  throw new AmeshError('pairing_unconfirmed', 'The other machine did not acknowledge.', {
    fix: 'It stays trusted here, as it was before. If it refuses requests, pair again.',
  });
}

function notAnswered(): AmeshError {
  return new AmeshError('pairing_declined', 'Nobody answered within 60 s.', {
    fix: 'Start again, on both machines.',
  });
}
