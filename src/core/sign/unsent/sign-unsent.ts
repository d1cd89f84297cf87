import { type Answers, readAnswers } from '../../answers/asking';
import { assertOptionNames } from '../../options';
import { isRequest } from '../../wire/view';
import { type Attempt, attemptTo, isAboutKeys, signOnce } from '../attempt';
import { receive } from '../exchange';
import type { Settings } from '../options';
import { type Outgoing, toOutgoing } from '../outgoing/outgoing';
import { tellAnswer } from '../prove';
import { isRenewed, tellsTime } from '../send-signed';
import { type AnswerHead, type HeaderValues, toHeaders, toResponse } from './values';

/** A request that a program sends by itself. */
export interface RequestToSign {
  /** An absolute URL. */
  readonly url: string | URL;
  /** Default GET. */
  readonly method?: string | undefined;
  /** The headers that will be sent. A `Host` is left out, since the URL decides, and so is an earlier signature of amesh. */
  readonly headers?: HeaderValues | undefined;
  /** Any body of `fetch`, or a stream of Node. A stream is read, up to `maxBufferedBytes`. Default: no body. */
  readonly body?: RequestInit['body'] | Uint8Array | AsyncIterable<Uint8Array | string> | null | undefined;
}

/** How to sign one request; every option is optional. */
export interface SignCallOptions {
  /**
   * Which responses have to be proven; default none. With `auto` and `required`, pass the whole `Response` to {@link
   * SignedRequest.answered}, and read the body of the response that `answered` returns.
   */
  readonly answers?: Answers | undefined;
  /** Ends the reading of a body, and the waits for a key and for an enrolment, also in {@link SignedRequest.answered}. */
  readonly signal?: AbortSignal | null | undefined;
}

/** A signed request, to be sent once. */
export interface SignedRequest {
  /** Where to send it: the URL in the spelling that is signed, without its fragment. */
  readonly url: string;
  /** As it is signed: `POST` for `post`. */
  readonly method: string;
  /**
   * All headers to send, by lower-case name: yours, and those of the signature. A client may add others, but no
   * `Content-Type`, `Content-Encoding`, `Authorization` or `Accept-Signature`.
   */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The bytes to send; null if there are none, or a `stream`. */
  readonly body: Uint8Array<ArrayBuffer> | null;
  /**
   * The body to send if it is a stream with your own `Content-Digest`; otherwise null. Meanwhile nobody else can read that stream.
   */
  readonly stream: ReadableStream<Uint8Array> | null;
  /** The signature base: the text that is signed (RFC 9421 section 2.5). */
  readonly base: string;
  /**
   * Passes the response to amesh, which learns the same from it as `amesh.fetch` would: the time of the server, which key the
   * server knows, and why it refused the request. Call it for each response, before the body is read.
   *
   * @param answer a `Response`, or status and headers
   * @throws AmeshError `answer_unproven`, `clock_skew_too_large`
   */
  answered(answer: Response | AnswerHead): Promise<HeardAnswer>;
}

/** A response that was passed to amesh. */
export interface HeardAnswer {
  /** The response. If it had to be proven, its body is checked while it is read. */
  readonly response: Response;
  /**
   * Whether to sign and send the same request once more, such as after a correction of the clock, because it can be accepted then.
   * It is true only if the server has refused the request before any handler ran; or if that is not certain, but the request is a
   * GET, HEAD or OPTIONS. Do so once, as `amesh.fetch` does.
   */
  readonly again: boolean;
}

const REQUEST_NAMES: ReadonlySet<string> = new Set<keyof RequestToSign>(['url', 'method', 'headers', 'body']);
const OPTION_NAMES: ReadonlySet<string> = new Set<keyof SignCallOptions>(['answers', 'signal']);

/** A request whose arguments were copied. */
export interface UnsentRequest {
  readonly url: URL;
  readonly signal: AbortSignal | null;
  /** Throws like `fetch` of a client. */
  sign(): Promise<SignedRequest>;
  /** Lets the caller read a stream that it passed as the body again, if nothing of it was read. */
  readonly release: () => void;
}

/**
 * Copies the arguments of `sign()`. Later changes by the caller have no effect.
 *
 * @throws TypeError for a wrong argument, and where `fetch` would throw one; AmeshError `payload_too_large`
 */
export async function toUnsent(
  settings: Settings,
  input: Request | RequestToSign,
  options: SignCallOptions = {},
): Promise<UnsentRequest> {
  assertOptionNames('sign()', options, OPTION_NAMES);
  const { answers, signal } = options;
  if (answers !== undefined) readAnswers(answers);
  const request = await toOutgoing(...argumentsOf(input, signal), settings.maxBufferedBytes);
  leaveOutOwn(request.headers);
  const { url, release } = request;
  return { url, signal: request.signal, sign: () => signUnsent(settings, request, answers), release };
}

/** Leaves out the signature of an earlier attempt, which some clients keep among their headers. */
function leaveOutOwn(headers: Headers): void {
  if (/^AuthMesh /i.test(headers.get('authorization') ?? '')) headers.delete('authorization');
  headers.delete('authmesh-target');
  if (!/^amesh=[^,]*$/.test(headers.get('signature-input') ?? '')) return;
  for (const name of ['signature-input', 'signature']) headers.delete(name);
}

function argumentsOf(
  input: Request | RequestToSign,
  signal: AbortSignal | null | undefined,
): [string | Request, RequestInit] {
  const ending = signal === undefined ? {} : { signal };
  // Only a Request has clone(): its url and headers may also be those of a RequestToSign.
  if (isRequest(input) && typeof input.clone === 'function') return [input, ending];
  assertOptionNames('The request of sign()', input, REQUEST_NAMES);
  const { url, method = 'GET', headers, body = null } = input as RequestToSign;
  return [String(url), { method, headers: toHeaders(headers), body: body as BodyInit, ...ending }];
}

/** By default, only answers that change the state of this machine have to be proven. If such an answer is not, that is no error. */
async function attemptOf(
  settings: Settings,
  request: Outgoing,
  answers: Answers | undefined,
): Promise<Attempt> {
  const how = { answers: answers ?? 'auto', allowsUnprovenBody: false };
  const { attempt, target } = await attemptTo(settings, request, how);
  if (answers !== undefined) return attempt;
  const asked = isAboutKeys(attempt.called) ? target : undefined;
  return { ...attempt, needsProof: false, asked };
}

async function signUnsent(
  settings: Settings,
  request: Outgoing,
  answers: Answers | undefined,
): Promise<SignedRequest> {
  const attempt = await attemptOf(settings, request, answers);
  const signed = await signOnce(settings, request, attempt);
  const { url, method, bytes, stream } = request;
  return {
    url: url.href,
    method,
    headers: [...signed.headers],
    body: bytes,
    stream,
    base: signed.base,
    async answered(answer) {
      const received = toResponse(answer, url.href);
      const { response, renewing } = await receive(settings, request, attempt, signed, received);
      await tellAnswer(settings, { request, response, signed: true });
      const isLate = tellsTime(settings, url, response);
      if (isLate) settings.clocks.correct(url, response);
      return { response, again: stream === null && (isLate || (await isRenewed(request, renewing))) };
    },
  };
}
