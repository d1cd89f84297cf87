import { answerNonce } from '../answers/answer';
import type { AnswerOptions } from '../answers/asking';
import { provenHead } from '../answers/proven-by';
import type { RequestSigner } from '../crypto/provider';
import { callSafely } from '../errors/call-safely';
import { ROTATION_HEADER, readRotationAnswer } from '../rotation/field';
import { normalizeAuthority } from '../wire/authority';
import { isPrivateChannel } from '../wire/private-channel';
import { type Attempt, attemptTo, type Signed, signOnce } from './attempt';
import type { Settings } from './options';
import type { Outgoing } from './outgoing/outgoing';
import { proven } from './prove';
import { refusalOf } from './refusal';
import { send, withoutRepeat } from './send';
import { noteRequest } from './sent-request';

/** A response, and what follows from it. */
export interface Sent {
  readonly response: Response;
  /** Set if the server refused the key of this request, and another key follows. */
  readonly renewing?: Promise<void> | undefined;
}

/** Signs a request, and sends it. */
export async function sendOnce(settings: Settings, request: Outgoing, attempt: Attempt): Promise<Sent> {
  return deliver(settings, request, attempt, await signOnce(settings, request, attempt));
}

async function deliver(
  settings: Settings,
  request: Outgoing,
  attempt: Attempt,
  signed: Signed,
): Promise<Sent> {
  const { headers } = signed;
  let received: Response;
  try {
    received = await send(settings.doFetch, request, headers);
  } catch (error) {
    const again = withoutRepeat(request, error);
    if (again === null) throw error;
    // Exactly the same request, since somebody in between may have answered: the target carries it out at most once.
    headers.set('content-length', String(request.bytes?.length));
    received = await send(settings.doFetch, again, headers);
  }
  // The later attempts of a stream have nothing to send.
  const note = (answer: object) =>
    request.stream === null &&
    resends.set(answer, { request, signed, send: () => deliver(settings, request, attempt, signed) });
  try {
    const sent = await receive(settings, request, attempt, signed, received);
    if (refusalOf(sent.response) !== null) note(sent.response);
    return sent;
  } catch (error) {
    if (typeof error === 'object' && error !== null) note(error); // a program's own fetch may throw anything
    throw error;
  }
}

/**
 * Takes the response to a request: proves it if a proof was asked for, and learns from it.
 *
 * @throws AnswerUnprovenError
 */
export async function receive(
  settings: Settings,
  request: Outgoing,
  attempt: Attempt,
  { headers, worker, base, signature, nonce, elapsedMs }: Signed,
  received: Response,
): Promise<Sent> {
  const renewing = otherKeyFor(request, received, attempt, worker);
  const { asked, targetId } = attempt;
  const tookMs = elapsedMs();
  let response = received;
  if (asked !== undefined) {
    const bound = await answerNonce(base, signature, settings.crypto);
    const sent = { request, headers, attempt, asked, nonce: bound, tookMs };
    response = await proven(settings, sent, received).catch((error) => {
      callSafely(() => attempt.called?.unproven?.(error), 'unproven');
      throw error;
    });
  }
  tellRotation(settings, request, attempt, response);
  // A proven answer is another object than `received`.
  if (response === received && isOfUnknown(response) && !isPrivateChannel(request.url))
    callSafely(() => attempt.called?.unproven?.(response), 'unproven');
  noteRequest(response, { nonce, authority: normalizeAuthority(request.url.host) ?? '', target: targetId });
  return { response, renewing };
}

/** @returns a promise if another key follows: the other key of a rotation, or another working key */
function otherKeyFor(
  { url }: Outgoing,
  response: Response,
  { called, needsProof }: Attempt,
  worker: RequestSigner | undefined,
): Promise<void> | undefined {
  let renewing: Promise<void> | undefined;
  if (isOfUnknown(response))
    callSafely(() => {
      // Nothing proves such a refusal, so it changes no key if answers have to be proven.
      if (!needsProof && isPrivateChannel(url) && called?.refused?.()) renewing = Promise.resolve();
      else if (refusalOf(response) === 'unauthorized') renewing = worker?.refused?.();
    }, 'refused');
  return renewing;
}

/** Whether a response says that the target does not know the key, or that the key has ended. */
function isOfUnknown(response: Response): boolean {
  return /^(?:unauthorized|device_expired)$/.test(refusalOf(response) ?? '');
}

/** Tells the caller what an answer says about its keys. Over plain http anybody could have written that. */
function tellRotation(
  { onRotation }: Settings,
  { url }: Outgoing,
  { called }: Attempt,
  response: Response,
): void {
  const head = provenHead(response);
  if (called === undefined || !(head !== undefined || isPrivateChannel(url))) return;
  const { deviceId: targetId, rotation, accepted } = called;
  if (response.ok) callSafely(() => accepted?.(head === undefined ? 'unproven' : 'proven'), 'accepted');
  if (onRotation === undefined || rotation === undefined) return;
  const answer = readRotationAnswer(response.headers.get(ROTATION_HEADER));
  const isProven = head?.headers[ROTATION_HEADER] !== undefined;
  if (answer === null || !(isProven || isPrivateChannel(url))) return;
  callSafely(() => onRotation({ targetId, rotation, answer, isProven }), 'onRotation');
}

const resends = new WeakMap<
  object,
  { readonly request: Outgoing; readonly signed: Signed; readonly send: () => Promise<Sent> }
>();

/**
 * Sends exactly the same bytes again, after an answer to them that is not proven. An attacker gains nothing by that: anybody in
 * between can send them again, too, and the target carries them out at most once.
 *
 * @param answer the error about that answer, or the answer itself if it is a refusal
 * @returns undefined if the answer is to another request, such as one after a redirect, or if the body of the request is a stream
 */
export function resendOf(answer: object, request: Outgoing): (() => Promise<Response>) | undefined {
  const known = resends.get(answer);
  return known?.request === request ? async () => (await known.send()).response : undefined;
}

/**
 * Signs the request once more, with the time and the nonce of the first one. Arguments and result are those of {@link resendOf}.
 */
export function sendInstead(
  error: object,
  settings: Settings,
  request: Outgoing,
  how: AnswerOptions,
): (() => Promise<Response>) | undefined {
  const known = resends.get(error);
  if (known?.request !== request) return undefined;
  return async () => {
    const { attempt } = await attemptTo(settings, request, how);
    const signed = await signOnce(settings, request, attempt, known.signed);
    return (await deliver(settings, request, attempt, signed)).response;
  };
}
