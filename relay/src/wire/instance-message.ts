/**
 * What one instance of a relay tells another. `session` has the same id on both; in `mail` it is the id of whoever waits.
 *
 * | message | meaning |
 * | --- | --- |
 * | `join` | somebody here has burnt the code of your listener |
 * | `joined` | it was still waiting: the session runs |
 * | `msg` | a message from one side to the other, the `number`th |
 * | `gone` | our side has gone, or we do not know such a session |
 * | `expired` | the session has had its time |
 * | `tried` | somebody came too late for the code of your listener |
 * | `mail` | what came into the mailbox that somebody waits at |
 */
export type Message =
  | { readonly type: 'join' | 'joined' | 'gone' | 'expired' | 'tried'; readonly session: string }
  | { readonly type: 'msg'; readonly session: string; readonly number: number; readonly body: string }
  | { readonly type: 'mail'; readonly session: string; readonly body: string };

/** A message, and which instance it says it is from. */
export interface Letter {
  readonly from: string;
  readonly message: Message;
}

/** The members of each message beside `type`, `from` and `session`; no other may be there. */
const MEMBERS: Readonly<Record<Message['type'], readonly string[]>> = {
  join: [],
  joined: [],
  gone: [],
  expired: [],
  tried: [],
  msg: ['number', 'body'],
  mail: ['body'],
};

const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether it is an id as instances and sessions have. */
export function isId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value);
}

export function writeLetter({ from, message }: Letter): string {
  // As JSON that is well-formed whatever is in a body, half a surrogate pair included.
  return JSON.stringify({ ...message, from });
}

/** @returns null for whatever is no letter: anybody with access to Redis can have written it */
export function readLetter(text: string, maxBodyBytes: number): Letter | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const { from, ...message } = value as Record<string, unknown>;
  const { type, session, number, body } = message;
  if (typeof type !== 'string' || !Object.hasOwn(MEMBERS, type)) return null;
  const members = MEMBERS[type as Message['type']];
  if (!isId(from) || !isId(session)) return null;
  if (Object.keys(message).length !== members.length + 2) return null;
  if (!members.every((name) => Object.hasOwn(message, name))) return null;
  if (members.includes('number') && !(Number.isSafeInteger(number) && (number as number) > 0)) return null;
  if (members.includes('body')) {
    if (typeof body !== 'string' || Buffer.byteLength(body) > maxBodyBytes) return null;
  }
  return { from, message: message as unknown as Message };
}
