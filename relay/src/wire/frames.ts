/** Why a relay refuses or ends something. */
export type RelayErrorCode =
  | 'bad_message'
  | 'unsupported_version'
  | 'code_not_found'
  | 'code_used'
  | 'rate_limited'
  | 'capacity'
  | 'too_large'
  | 'session_expired'
  | 'draining'
  | 'unavailable';

/** What a client may say, one JSON text frame each. */
export type ClientFrame =
  | { readonly type: 'listen' }
  | { readonly type: 'join'; readonly code: string }
  | { readonly type: 'msg'; readonly body: string }
  | { readonly type: 'bye' }
  | { readonly type: 'post'; readonly box: string; readonly body: string }
  | { readonly type: 'wait'; readonly box: string };

/** What a relay says. Times are in whole seconds. */
export type RelayFrame =
  | { readonly type: 'listening'; readonly code: string; readonly expiresIn: number }
  | { readonly type: 'peer' }
  | { readonly type: 'msg'; readonly body: string }
  | { readonly type: 'peer_gone' }
  | { readonly type: 'error'; readonly code: RelayErrorCode; readonly retryAfter?: number };

/** A frame that could not be taken, and what to say about it. */
export interface Fault {
  readonly fault: RelayErrorCode;
}

const BAD: Fault = { fault: 'bad_message' };

/** The members of each frame beside `type`; no other may be there. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  listen: ['v'],
  join: ['v', 'code'],
  msg: ['body'],
  bye: [],
  post: ['v', 'box', 'body'],
  wait: ['v', 'box'],
};

const CODE = /^[1-9][0-9]{5}$/;
const BOX = /^[A-Za-z0-9_-]{16,128}$/;

/**
 * Takes a frame apart, and takes no other than the six that there are.
 *
 * @param text one whole text frame
 * @param maxBodyBytes the most bytes of a body as UTF-8
 */
export function readFrame(text: string, maxBodyBytes: number): ClientFrame | Fault {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return BAD;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return BAD;
  const frame = value as Record<string, unknown>;
  const { type, v, code, box, body } = frame;
  if (typeof type !== 'string' || !Object.hasOwn(MEMBERS, type)) return BAD;
  const members = MEMBERS[type] as readonly string[];

  // Before the other members: another version may have others.
  if (members.includes('v')) {
    if (typeof v !== 'number' || !Number.isSafeInteger(v)) return BAD;
    if (v !== 1) return { fault: 'unsupported_version' };
  }
  if (Object.keys(frame).length !== members.length + 1) return BAD;
  if (!members.every((name) => Object.hasOwn(frame, name))) return BAD;
  if (members.includes('code') && !(typeof code === 'string' && CODE.test(code))) return BAD;
  if (members.includes('box') && !(typeof box === 'string' && BOX.test(box))) return BAD;
  if (members.includes('body')) {
    if (typeof body !== 'string') return BAD;
    if (Buffer.byteLength(body) > maxBodyBytes) return { fault: 'too_large' };
  }
  return frame as unknown as ClientFrame;
}
