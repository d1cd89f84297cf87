import type { RefusalCode } from '../errors/code-names';
import type { RefusalFacts } from '../errors/define-codes';
import type { BodyStream } from './stream-body';

/** The verified controller of a request: what `req.authMesh` holds. */
export interface AuthMeshIdentity {
  /** `am_` and 16 base64url characters; stable, and the thing to compare. */
  readonly deviceId: string;
  /** The name under which it was paired; unique in this allow list, at most 64 code points. */
  readonly friendlyName: string;
  /** Unix seconds. */
  readonly verifiedAt: number;
}

/** Headers by lower-case name. */
export type AnswerHeaders = Readonly<Record<string, string>>;

/** What goes back to the client, as plain values, for adapters that do not speak `Response`. */
export interface Answer {
  /** The HTTP status. */
  readonly status: number;
  /** Its headers, by lower-case name. */
  readonly headers: AnswerHeaders;
  /** JSON. */
  readonly body: string;
}

/** What a verifier says of a request: it may pass, it is refused, or amesh has answered it itself. */
export type Verdict<R> = Accepted<R> | Refused | Answered;

/** A request that may pass. */
export interface Accepted<R> {
  /** Whether it may pass. */
  readonly ok: true;
  /** Which of the three cases this is. */
  readonly kind: 'accepted';
  /** The device that has signed the request. */
  readonly caller: AuthMeshIdentity;
  /** What the answer has to carry besides; often absent. */
  readonly headers?: AnswerHeaders | undefined;
  /**
   * The request with its body, which is verified and can be read: a view with the bytes, or the `Request` itself. A fresh
   * `Request` takes its place where the body was read already, or comes as a `stream`; it shows what was on the first.
   */
  readonly request: R;
  /**
   * Only with `streamUnverifiedBody`, where the body is not verified yet: the stream to read, which a `Request` has as
   * its body already, or null where that is the transport's own. A view then has no bytes.
   */
  readonly stream?: BodyStream | undefined;
}

/** A request that goes no further. */
export interface Refused {
  /** Whether it may pass. */
  readonly ok: false;
  /** Which of the three cases this is. */
  readonly kind: 'refused';
  /** The precise reason; the client may see less. */
  readonly code: RefusalCode;
  /** What the client gets. */
  readonly answer: Answer;
  /** The same; made anew at each access. */
  readonly response: Response;
  /** Whether body bytes may still be on their way. The connection must then be closed after the answer. */
  readonly bodyUnread: boolean;
}

/** A request to amesh itself that was carried out: an enrolment. No handler sees it. */
export interface Answered {
  /** Whether it may pass. */
  readonly ok: false;
  /** Which of the three cases this is. */
  readonly kind: 'answered';
  /** What the client gets. */
  readonly answer: Answer;
  /** The same; made anew at each access. */
  readonly response: Response;
  /** False: the body was read. */
  readonly bodyUnread: false;
}

/**
 * A refusal: `{"error":"<code>"}` and the headers of docs/protocol.md.
 *
 * @param nowMs Unix milliseconds; a client may set its clock by it where the time was the reason
 */
export function refused({ code, status, wire }: RefusalFacts, nowMs: number, bodyUnread: boolean): Refused {
  const headers: Record<string, string> = { ...JSON_HEADERS };
  if (status === 401) headers['www-authenticate'] = `AuthMesh error="${wire}"`;
  if (code === 'timestamp_out_of_range') headers.date = new Date(nowMs).toUTCString();
  const answer = { status, headers, body: JSON.stringify({ error: wire }) };
  return withResponse({ ok: false, kind: 'refused', code, answer, bodyUnread });
}

/** @param value goes out as JSON, with status 200 */
export function answered(value: object): Answered {
  const answer = { status: 200, headers: JSON_HEADERS, body: JSON.stringify(value) };
  return withResponse({ ok: false, kind: 'answered', answer, bodyUnread: false });
}

const JSON_HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-store' };

function withResponse<V extends { readonly answer: Answer }>(
  verdict: V,
): V & { readonly response: Response } {
  return {
    ...verdict,
    get response() {
      return new Response(verdict.answer.body, verdict.answer);
    },
  };
}
