import { gatherCalls } from '#gather';
import type { ProvingTarget } from '../answers/asking';
import { checkedBody, type ExpectedBody, unreadableBody, WRONG_BODY } from '../answers/checked-body';
import { copyOf, noteProof, takeOver } from '../answers/proven-by';
import {
  checkAnswer,
  type ExpectedAnswer,
  isUnproven,
  type ProvenHead,
  TwoNextKeys,
  type Unproven,
} from '../answers/verify-answer';
import type { CryptoProvider } from '../crypto/provider';
import { equalBytes } from '../encoding';
import { AnswerUnprovenError } from '../errors/amesh-error';
import type { DelegatedSigner } from '../statements/delegated-signer';
import { fieldValue, type HeaderLines } from '../wire/view';
import type { Settings } from './options';
import { toBodyStream } from './outgoing/body';
import type { Outgoing } from './outgoing/outgoing';
import { type ClientRefusal, explainRefusal, refusalOf, shownUrl, tellRefusal } from './refusal';
import { discard } from './send';
import { idOf } from './sign-request';

/** A request that asked for a proof. */
interface Asked {
  readonly request: Outgoing;
  /** As they were sent. */
  readonly headers: Headers;
  readonly attempt: {
    /** Whether an answer that is not proven is an error. */
    readonly needsProof: boolean;
    readonly allowsUnprovenBody: boolean;
  };
  readonly asked: ProvingTarget;
  /** What the answer has to contain. */
  readonly nonce: string;
  /** The time from the signing of the request to the arrival of its answer. */
  readonly tookMs: number;
}

/**
 * A target always remembers a request that it has carried out for this long, in milliseconds. Later, somebody who withheld the
 * answer could send the same request again, have it refused for its time, and pass on that refusal.
 */
export const REMEMBERED_MS = 10_000;

/** Uses both clocks: one may be set back in the meantime, and the other stands still while the machine sleeps. */
export function stopwatch({ now }: Pick<Settings, 'now'>): () => number {
  const [startMs, startTicks] = [now(), performance.now()];
  return () => Math.max(now() - startMs, performance.now() - startTicks);
}

/** The headers that a 304 can answer (RFC 9110 section 13.2.2). */
const CONDITIONS = ['if-none-match', 'if-modified-since'];

/**
 * Proves the answer to a request that asked for a proof.
 *
 * @returns the proven answer; or the answer itself if it is not proven, and need not be
 * @throws AnswerUnprovenError
 */
export async function proven(
  settings: Settings,
  { request, headers, attempt, asked, nonce, tookMs }: Asked,
  response: Response,
): Promise<Response> {
  const { crypto, maxBufferedBytes: limitBytes } = settings;
  const isConditional = CONDITIONS.some((name) => headers.has(name));
  const { method } = request;
  const nowMs = settings.now();
  const expected = { ...asked, nowMs, method, nonce, asksForPart: headers.has('range'), isConditional };
  const result = await prove(response, expected, {
    crypto,
    limitBytes,
    allowsUnprovenBody: attempt.allowsUnprovenBody,
    leavesBody: !attempt.needsProof,
    targetId: asked.targetId,
    unproven: (why) => unproven(settings, request, response.status, why),
  });
  if (!isUnproven(result)) {
    if (!isLate(result) || tookMs <= REMEMBERED_MS) return result;
    if (!attempt.needsProof) return response;
    await discard(result);
    throw unproven(settings, request, response.status, LATE);
  }
  if (!attempt.needsProof) return response;
  const claim = await explainAnswer(settings, { request, response, signed: true }).catch(() => null);
  await discard(response);
  throw unproven(settings, request, response.status, result, claim);
}

const LATE =
  'its refusal of the time came more than 10 s after the request, which may have been carried out before';

/** Reports an answer that is not proven. @param claim what it would mean if it were genuine */
function unproven(
  { onRefusal }: Settings,
  { url }: Outgoing,
  status: number,
  why: Unproven,
  claim: ClientRefusal | null = null,
): AnswerUnprovenError {
  const code = claim?.code;
  const shown = shownUrl(url);
  const what = `The answer of ${shown} (${code === undefined ? status : `${status} ${code}`}) is not proven: ${why}.`;
  const error = new AnswerUnprovenError(
    `${what} The request may have been carried out.`,
    { status, claims: code, namesTwoKeys: why instanceof TwoNextKeys },
    claim === null ? undefined : `If it is genuine: ${claim.detail} ${claim.fix}`,
  );
  const { detail, fix } = error;
  if (onRefusal !== undefined) tellRefusal({ code: error.code, status, url: shown, detail, fix }, onRefusal);
  return error;
}

/** An answer, and the request that led to it. */
interface Received {
  readonly request: Outgoing;
  readonly response: Response;
  readonly signed: boolean;
}

/** Tells the caller's `onRefusal` what an answer means, if it is a refusal of amesh. */
export async function tellAnswer(settings: Settings, received: Received): Promise<void> {
  const { onRefusal } = settings;
  if (onRefusal === undefined) return;
  const explaining = explainAnswer(settings, received);
  // The body names a fault of the server. Nobody has to wait for that.
  if (received.response.status >= 500)
    explaining.then(
      (found) => tellRefusal(found, onRefusal),
      () => {},
    );
  else tellRefusal(await explaining, onRefusal);
}

/** Explains what an answer means, if it is a refusal of amesh. */
async function explainAnswer(
  { fetch, now, open, crypto }: Settings,
  sent: Received,
): Promise<ClientRefusal | null> {
  const { request, response, signed } = sent;
  const { url, options } = request;
  const signer = await open();
  const { delegation } = signer as Partial<DelegatedSigner>;
  // Not from requestSigner(): its key may have ended in the meantime, or may need a new signature of the device key.
  const ownId = async () => delegation?.deviceId ?? idOf(signer, crypto);
  const isDelegate = delegation !== undefined;
  return explainRefusal(url, response, { signed, fetch, options, nowMs: now(), isDelegate, ownId });
}

/** Whether a server has refused the time of a request. */
export function isLate(response: Response): boolean {
  return refusalOf(response) === 'timestamp_out_of_range';
}

/** How to prove one answer. */
export interface ProveOptions extends Omit<ExpectedBody, 'digest' | 'crypto'> {
  readonly crypto: Pick<CryptoProvider, 'sha256' | 'createSha256' | 'importPublicKey'>;
  readonly allowsUnprovenBody: boolean;
  /** Whether to leave the body as it comes, because the program did not ask for a proof. Default false. */
  readonly leavesBody?: boolean;
  /** The ID under which the target was called. */
  readonly targetId: string;
}

/**
 * Proves an answer.
 *
 * @returns the same answer, whose body is checked while it is read; or why it is not proven
 */
export async function prove(
  response: Response,
  expected: ExpectedAnswer,
  options: ProveOptions,
): Promise<Response | Unproven> {
  const { status } = response;
  await gatherCalls();
  const headers = linesOf(response);
  const signed = await checkAnswer({ status, headers }, expected, options.crypto);
  if (isUnproven(signed)) return signed;
  const head = options.leavesBody ? { ...signed, digest: null, isStream: true } : signed;
  const body = bodyOf(response, head, options);
  if (head.digest !== null && body === null) {
    const nothing = await options.crypto.sha256(new Uint8Array());
    if (!equalBytes(nothing, head.digest)) return WRONG_BODY;
  }
  let proven: Response;
  try {
    proven = copyOf(response, body);
  } catch {
    return `a Response cannot have the status ${status}`;
  }
  takeOver(proven, response);
  const type = fieldValue(head.headers, 'content-type');
  if (type !== fieldValue(headers, 'content-type')) proven.headers.set('content-type', String(type));
  noteProof(proven, { target: options.targetId, head });
  return proven;
}

function bodyOf(
  response: Response,
  head: ProvenHead,
  { crypto, limitBytes, unproven, allowsUnprovenBody, leavesBody }: ProveOptions,
): ReadableStream<Uint8Array<ArrayBuffer>> | null {
  if (response.body === null) return null;
  const open = () => streamOf(response);
  if (head.digest !== null) return checkedBody(open, { digest: head.digest, crypto, limitBytes, unproven });
  if (leavesBody || (head.isStream && allowsUnprovenBody))
    return open() as ReadableStream<Uint8Array<ArrayBuffer>>;
  void discard(response);
  return head.isStream
    ? unreadableBody(() =>
        unproven('its target has signed the head only, and not the body (allowUnprovenBody)'),
      )
    : null;
}

/** The stream itself if it is of the platform's own class; otherwise such a stream with the same bytes. */
function streamOf({ body }: Response): ReadableStream<Uint8Array> {
  return body instanceof ReadableStream ? body : (toBodyStream(body) as ReadableStream<Uint8Array>);
}

function linesOf({ headers }: Response): HeaderLines {
  const lines: Record<string, string | readonly string[]> = Object.create(null);
  for (const [name, value] of headers) lines[name] = value;
  // Also for node-fetch, whose Headers have another method for this.
  const { raw } = headers as { raw?: () => Record<string, string[]> };
  const cookies = headers.getSetCookie?.() ?? raw?.call(headers)['set-cookie'] ?? [];
  if (cookies.length > 0) lines['set-cookie'] = cookies;
  return lines;
}
