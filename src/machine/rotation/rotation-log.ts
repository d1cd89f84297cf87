import type { TrustedDevice } from '../../core/devices/allow-list';

/** Why the next key of a caller is refused. */
export type RotationRefusal = keyof typeof WHY;

/** What became of the next key of a caller. */
export type RotationEvent =
  | 'waiting'
  | 'accepted'
  | 'revoked'
  | 'withdraw'
  | 'retire'
  /** It names a next key that it does not have. */
  | 'none'
  /** The next key that it withdraws is a device of its own. */
  | 'stays'
  | RotationRefusal;

const WHY = {
  malformed: 'The AuthMesh-Rotation of its request is malformed, or a signature in it is wrong.',
  delegate: 'A delegate cannot change the key of its device.',
  'working-key':
    'Only the device key itself can withdraw or retire a key, and a working key signed the request.',
  foreign: 'The statement is about the key of another device.',
  elsewhere: 'The statement is for another target.',
  own: 'The next key is the key of this target.',
  time: 'The statement is more than 30 days old, or from the future.',
  off: 'This target accepts no next keys: acceptRotation is false.',
  key: 'The next key is in the list already, was revoked or refused, is a former key of the device, or is a working key; or the statement is from before the keys of the device were cut.',
} as const;

/** Logs once what became of the next key of a caller, and the command to type. */
export function logRotation(
  what: RotationEvent,
  { deviceId, friendlyName }: Pick<TrustedDevice, 'deviceId' | 'friendlyName'>,
  nextId: string | undefined,
  tell: (line: string) => void,
): void {
  const who = `${JSON.stringify(friendlyName)} (${deviceId})`;
  tell(lineOf(what, who, deviceId, nextId)); // two devices may have one name
}

function lineOf(what: RotationEvent, who: string, deviceId: string, nextId: string | undefined): string {
  switch (what) {
    case 'waiting':
      return `${who} asks to replace its key with ${nextId}, which waits until you decide. Ask its owner. If it is right: amesh rotate accept ${deviceId}. If not: amesh rotate refuse ${deviceId}`;
    case 'accepted':
      return `The key of ${who} was replaced by ${nextId}. Both count for 30 days. If that is wrong: amesh revoke ${nextId}`;
    case 'revoked':
      return `${who} was revoked with all its keys: its key has named two next keys, the second is ${nextId}, so two parties have the key. Find out who, and pair the device again, with a new key. See docs/keys.md.`;
    case 'withdraw':
      return `${who} withdrew its next key ${nextId}, which does not count any more. If its owner did not do that: amesh revoke ${deviceId}`;
    case 'retire':
      return `${who} ends the use of its former key: from 25 hours on, only ${nextId} counts.`;
    case 'none':
      return `${who} named ${nextId}, which is no next key of it, so nothing was withdrawn or retired.`;
    case 'stays':
      return `${who} wants to withdraw ${nextId}, which is in the list as a device of its own, and stays there. To end it: amesh revoke ${nextId}`;
    default:
      return `The next key of ${who} was refused. ${WHY[what]} See docs/protocol.md, "Rotation".`;
  }
}
