import { hasExactly, readTypedObject } from './typed-object';

/**
 * A message of one instance of a relay to another one. A session has the same ID at both instances. In `mail`, `session` is the ID
 * of the client that waits.
 *
 * | message | meaning |
 * | --- | --- |
 * | `join` | a client here has burnt the code of your listener |
 * | `joined` | the listener was still waiting; the session is paired |
 * | `msg` | message number `number` from one side to the other |
 * | `gone` | our side has left, or we do not know this session |
 * | `expired` | the time of the session is over |
 * | `tried` | a client came too late for the code of your listener |
 * | `mail` | the message for a mailbox at which your client waits |
 */
export type InstanceMessage =
  | { readonly type: 'join' | 'joined' | 'gone' | 'expired' | 'tried'; readonly session: string }
  | { readonly type: 'msg'; readonly session: string; readonly number: number; readonly body: string }
  | { readonly type: 'mail'; readonly session: string; readonly body: string };

/** A message, and the instance that it claims to come from. */
export interface Envelope {
  readonly from: string;
  readonly message: InstanceMessage;
}

/** The members of each message in addition to `type`. A message with any other member is ignored. */
const MEMBERS: Readonly<Record<InstanceMessage['type'], readonly string[]>> = {
  join: ['from', 'session'],
  joined: ['from', 'session'],
  gone: ['from', 'session'],
  expired: ['from', 'session'],
  tried: ['from', 'session'],
  msg: ['from', 'session', 'number', 'body'],
  mail: ['from', 'session', 'body'],
};

const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether a value is an ID of an instance or a session. */
export function isId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value);
}

export function writeEnvelope({ from, message }: Envelope): string {
  // JSON.stringify writes well-formed text for any body, even for a lone surrogate.
  return JSON.stringify({ ...message, from });
}

/** @returns null for text that is not exactly an envelope: anybody with access to Redis may have written it */
export function readEnvelope(text: string, maxBodyBytes: number): Envelope | null {
  const value = readTypedObject(text, MEMBERS);
  if (value === null) return null;
  const members = MEMBERS[value.type];
  const { from, ...message } = value;
  const { session, number, body } = message;
  if (!hasExactly(value, members) || !isId(from) || !isId(session)) return null;
  if (members.includes('number') && !(Number.isSafeInteger(number) && (number as number) > 0)) return null;
  if (members.includes('body')) {
    if (typeof body !== 'string' || Buffer.byteLength(body) > maxBodyBytes) return null;
  }
  return { from, message: message as unknown as InstanceMessage };
}
