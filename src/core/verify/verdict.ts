import type { AnswerProof } from '../answers/proof';
import type { RefusalCode } from '../errors/code-names';
import type { RefusalFacts } from '../errors/define-codes';
import type { BodyStream } from './stream-body';

/** The verified caller of a request: the value of `req.authMesh`. */
export interface AuthMeshIdentity {
  /** `am_` and 16 base64url characters of the SHA-256 of the key that signed. It changes with `amesh rotate`. */
  readonly deviceId: string;
  /**
   * The IDs that the device had before, the oldest first; frozen, at most 16. Absent if its key was never rotated. The oldest
   * stays: store data of a device under `formerIds?.[0] ?? deviceId`.
   */
  readonly formerIds?: readonly string[] | undefined;
  /** The name under which it was paired; unique in this allow list, at most 64 code points. */
  readonly friendlyName: string;
  /** Unix seconds. */
  readonly verifiedAt: number;
  /** What the caller may do, such as `orders:read`, `orders:*` or `*`, at the time of the check; frozen. Ask with `hasScope()`. */
  readonly scopes: readonly string[];
  /** Only if a delegate of the device called. `scopes` are then those that it was lent and its device has. */
  readonly delegate?: Delegate | undefined;
}

/** A program that a device lends some of its scopes to. */
export interface Delegate {
  /** The name that the device gave it; 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  readonly name: string;
  /** The scopes that it was lent, whether its device has them or not; frozen. */
  readonly scopes: readonly string[];
  /** When the delegation ends, Unix seconds. */
  readonly expiresAt: number;
  /** The ID of the delegation: 22 base64url characters. */
  readonly id: string;
}

/** Headers by lower-case name. */
export type AnswerHeaders = Readonly<Record<string, string>>;

/** The response for the client as plain values, for adapters without `Response`. */
export interface Answer {
  /** The HTTP status. */
  readonly status: number;
  /** Its headers, by lower-case name. */
  readonly headers: AnswerHeaders;
  /** JSON text. */
  readonly body: string;
}

/** The verdict on a request: it may pass, it is refused, or amesh answered it itself. */
export type Verdict<R> = Accepted<R> | Refused | Answered;

/** A request that may pass. */
export interface Accepted<R> {
  /** True: handlers may process the request. */
  readonly ok: true;
  /** Which of the three cases this is. */
  readonly kind: 'accepted';
  /** The device that signed the request. */
  readonly caller: AuthMeshIdentity;
  /** Headers to add to the response; often absent. */
  readonly headers?: AnswerHeaders | undefined;
  /**
   * Whether the device may still call, and still has the scopes and the delegation, according to the present list. It is for what
   * lasts longer than a request, such as a WebSocket: ask every second or so, and close it if the result is false. The end of a
   * delegation counts, and the end of a working key does not: its device has another one by then. The result is also false if the list
   * cannot be read.
   */
  readonly mayStillCall: () => Promise<boolean>;
  /**
   * Signs the answer; only if the request asked for that, and this server can sign. The adapter calls it when the answer is
   * complete.
   */
  readonly proof?: AnswerProof | undefined;
  /**
   * The request with its verified, readable body: a view with the bytes, or the `Request` itself. If its body was already
   * read, or is a `stream`, it is a fresh `Request` with the same other properties.
   */
  readonly request: R;
  /**
   * Only with `streamUnverifiedBody`, for a body that is not verified yet: the stream to read, which is also the body of a
   * `Request`, or null if handlers read the transport's own. A view then has no bytes.
   */
  readonly stream?: BodyStream | undefined;
}

/** A request that handlers must not see. */
export interface Refused {
  /** False: handlers must not process the request. */
  readonly ok: false;
  /** Which of the three cases this is. */
  readonly kind: 'refused';
  /** The precise reason; the client may see less. */
  readonly code: RefusalCode;
  /** The response for the client. */
  readonly answer: Answer;
  /** The same as a `Response`, a new one at each access. */
  readonly response: Response;
  /** Whether bytes of the body may still arrive. If so, the connection must be closed after the response. */
  readonly bodyUnread: boolean;
}

/** A request that amesh answered itself: an enrolment. No handler sees it. */
export interface Answered {
  /** False: handlers must not process the request. */
  readonly ok: false;
  /** Which of the three cases this is. */
  readonly kind: 'answered';
  /** The response for the client. */
  readonly answer: Answer;
  /** The same as a `Response`, a new one at each access. */
  readonly response: Response;
  /** False: the body was read. */
  readonly bodyUnread: false;
}

/**
 * A refusal: `{"error":"<code>"}`, with the name of a missing scope, and the headers of docs/protocol.md.
 *
 * @param nowMs Unix milliseconds; sent as `Date` if the time was the reason, so that a client can correct its times
 */
export function refused(
  { code, status, wire, scope }: RefusalFacts,
  nowMs: number,
  bodyUnread: boolean,
): Refused {
  const headers: Record<string, string> = { ...JSON_HEADERS };
  if (status === 401) headers['www-authenticate'] = `AuthMesh error="${wire}"`;
  if (code === 'timestamp_out_of_range') headers.date = new Date(nowMs).toUTCString();
  const answer = { status, headers, body: JSON.stringify({ error: wire, scope }) };
  return withResponse({ ok: false, kind: 'refused', code, answer, bodyUnread });
}

/** The same refusal or answer with more headers. */
export function withHeaders<V extends Refused | Answered>(verdict: V, headers: AnswerHeaders): V {
  const { answer } = verdict;
  return withResponse({
    ...verdict, // without `response`, which is a getter of the class
    answer: { ...answer, headers: { ...answer.headers, ...headers } },
  });
}

/** @param value sent as JSON, with status 200 */
export function answered(value: object): Answered {
  const answer = { status: 200, headers: JSON_HEADERS, body: JSON.stringify(value) };
  return withResponse({ ok: false, kind: 'answered', answer, bodyUnread: false });
}

const JSON_HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-store' };

/** The getter is in a class: creating an object with a getter of its own takes longer than the rest of a refusal. */
class WithResponse {
  declare readonly answer: Answer;

  get response(): Response {
    return new Response(this.answer.body, this.answer);
  }
}

function withResponse<V extends { readonly answer: Answer }>(
  verdict: V,
): V & { readonly response: Response } {
  return Object.assign(new WithResponse(), verdict);
}
