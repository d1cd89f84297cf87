import type { RejectFacts } from '../errors/define-codes';

/** A refusal as plain values, for adapters that do not speak `Response`. */
export interface RefusalMessage {
  /** The HTTP status. */
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** JSON, in ASCII. */
  readonly body: string;
}

/**
 * What the client gets to see of a refusal: `{"error":"<code>"}` and the headers of docs/protocol.md.
 *
 * @param nowMs Unix milliseconds; a client may set its clock by it where the time was the reason
 */
export function refusalMessage({ code, status, wire }: RejectFacts, nowMs: number): RefusalMessage {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'cache-control': 'no-store',
  };
  if (status === 401) headers['www-authenticate'] = `AuthMesh error="${wire}"`;
  if (code === 'timestamp_out_of_range') headers.date = new Date(nowMs).toUTCString();
  return { status, headers, body: JSON.stringify({ error: wire }) };
}

/** What a client gets to see of what a verifier has answered itself. */
export function answerMessage(value: object): RefusalMessage {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' };
  return { status: 200, headers, body: JSON.stringify(value) };
}
