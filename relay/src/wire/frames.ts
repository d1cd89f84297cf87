import { hasExactly, readTypedObject } from './typed-object';

/** Why the relay refuses a frame, or ends a session or mailbox. */
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

/** The frames of a client, as JSON text. */
export type ClientFrame =
  | { readonly type: 'listen' }
  | { readonly type: 'join'; readonly code: string }
  | { readonly type: 'msg'; readonly body: string }
  | { readonly type: 'bye' }
  | { readonly type: 'post'; readonly box: string; readonly body: string }
  | { readonly type: 'wait'; readonly box: string };

/** The frames of the relay, as JSON text. `expiresIn` and `retryAfter` are whole seconds. */
export type RelayFrame =
  | { readonly type: 'listening'; readonly code: string; readonly expiresIn: number }
  | { readonly type: 'peer' }
  | { readonly type: 'msg'; readonly body: string }
  | { readonly type: 'peer_gone' }
  | { readonly type: 'error'; readonly code: RelayErrorCode; readonly retryAfter?: number };

/** Stands for a frame that cannot be read: the error that the client gets. */
export interface FrameFault {
  readonly fault: RelayErrorCode;
}

const BAD: FrameFault = { fault: 'bad_message' };

/** The members of each frame in addition to `type`. A frame with any other member is refused. */
const MEMBERS: Readonly<Record<ClientFrame['type'], readonly string[]>> = {
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
 * Reads a frame of a client, and refuses everything that is not exactly a {@link ClientFrame}.
 *
 * @param text one whole text frame
 * @param maxBodyBytes the most bytes of a body as UTF-8
 */
export function readFrame(text: string, maxBodyBytes: number): ClientFrame | FrameFault {
  const frame = readTypedObject(text, MEMBERS);
  if (frame === null) return BAD;
  const members = MEMBERS[frame.type];
  const { v, code, box, body } = frame;

  // The version is checked first, since another version may have other members.
  if (members.includes('v')) {
    if (typeof v !== 'number' || !Number.isSafeInteger(v)) return BAD;
    if (v !== 1) return { fault: 'unsupported_version' };
  }
  if (!hasExactly(frame, members)) return BAD;
  if (members.includes('code') && !(typeof code === 'string' && CODE.test(code))) return BAD;
  if (members.includes('box') && !(typeof box === 'string' && BOX.test(box))) return BAD;
  if (members.includes('body')) {
    if (typeof body !== 'string') return BAD;
    if (Buffer.byteLength(body) > maxBodyBytes) return { fault: 'too_large' };
  }
  return frame as unknown as ClientFrame;
}
