import { CODES, type RejectCode } from './codes';

/** Why a request was refused: for the log and for `onReject`, never for the client. */
export interface Rejection {
  /** The precise reason. */
  readonly code: RejectCode;
  /** The HTTP status the client gets. */
  readonly status: number;
  /** The cause, in one sentence. */
  readonly message: string;
  /** What to do about it. */
  readonly fix: string;
  /** What the request was, as this server saw it. Strings of a stranger: escape them where they are shown. */
  readonly request: {
    readonly method: string;
    readonly authority: string;
    readonly target: string;
    /** The id that the request claims; proven only from check 7 on. */
    readonly deviceId?: string | undefined;
    /** The covered components, where the signature did not match. */
    readonly covered?: readonly string[] | undefined;
  };
  /** What was thrown, where a store failed. */
  readonly cause?: unknown;
}

/** A refusal as plain values, for adapters that do not speak `Response`. */
export interface RefusalMessage {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * What the client gets to see of a refusal: `{"error":"<code>"}` and the headers of docs/protocol.md.
 *
 * @param nowMs Unix milliseconds; a client may set its clock by it where the time was the reason
 */
export function refusalMessage(code: RejectCode, nowMs: number): RefusalMessage {
  const { status, wire } = CODES[code];
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'cache-control': 'no-store',
  };
  if (status === 401) headers['www-authenticate'] = `AuthMesh error="${wire}"`;
  if (code === 'timestamp_out_of_range') headers.date = new Date(nowMs).toUTCString();
  return { status, headers, body: JSON.stringify({ error: wire }) };
}
