import { answerNonce } from '../answers/answer';
import {
  type AnswerOptions,
  type CalledTarget,
  cannotProve,
  type ProvingTarget,
  provingTarget,
} from '../answers/asking';
import { provenHead } from '../answers/proven-by';
import type { RequestSigner, Signer } from '../crypto/provider';
import { toBase64Url } from '../encoding';
import { callSafely } from '../errors/call-safely';
import { ROTATION_HEADER, readRotationAnswer } from '../rotation/field';
import { normalizeAuthority } from '../wire/authority';
import { isPrivateChannel } from '../wire/private-channel';
import { waitAtMost } from '../within';
import { throwIfAborted, untilAborted } from './abort';
import { noteAnswer } from './answered';
import type { Settings } from './options';
import { type Outgoing, toView } from './outgoing';
import { isLate, proven, stopwatch } from './prove';
import { refusalOf } from './refusal';
import { discard, send, withoutRepeat } from './send';
import { signParts } from './sign-request';

/** How to send a request once. */
export interface Attempt {
  /** The device ID to name. */
  readonly targetId: string | undefined;
  /** The target that has it, if more is known. */
  readonly called: CalledTarget | undefined;
  /** The target to ask for a proof, if one is asked for. */
  readonly asked: ProvingTarget | undefined;
  /** Whether an answer that is not proven is an error. */
  readonly needsProof: boolean;
  readonly allowsUnprovenBody: boolean;
  /** A correction of the clock that was just found. */
  readonly offsetMs?: number;
}

/** How long a response waits for another working key: a device key may wait for a person. */
const RENEWAL_MS = 2000;

/** A response, and what follows from it. */
export interface Sent {
  readonly response: Response;
  /** Set if there will be another working key, since the server refused that of this request. */
  readonly renewing?: Promise<void> | undefined;
}

/** Sends a request, and once more with another working key if the server refused the first one. */
export async function sendSigned(
  settings: Settings,
  request: Outgoing,
  how: AnswerOptions,
): Promise<Response> {
  const { response, renewing } = await sendInTime(settings, request, how);
  if (request.stream !== null || !(await isRenewed(request, renewing))) return response;
  await discard(response);
  return (await sendInTime(settings, request, how)).response;
}

/**
 * Whether there is another working key now, with which to send a request again. Over http somebody in between may have answered a
 * request that the server carries out.
 */
export async function isRenewed({ url, signal }: Outgoing, renewing: Sent['renewing']): Promise<boolean> {
  if (renewing === undefined || !isPrivateChannel(url)) return false;
  let isDone = false;
  const renewed = renewing.then(() => {
    isDone = true;
  });
  await untilAborted(signal, waitAtMost(RENEWAL_MS, renewed));
  return isDone;
}

/**
 * Sends a request, and once more with a corrected clock if the server refused its time. If nothing proves that refusal, but the
 * target can, it is asked for a proof before.
 */
async function sendInTime(settings: Settings, request: Outgoing, how: AnswerOptions): Promise<Sent> {
  const { clocks } = settings;
  const { url, stream } = request;
  const { attempt, target } = await attemptTo(settings, request, how);
  const { needsProof } = attempt;
  let sent = await sendOnce(settings, request, attempt);
  if (
    isLate(sent.response) &&
    !needsProof &&
    target !== undefined &&
    stream === null &&
    isPrivateChannel(url)
  ) {
    await discard(sent.response);
    sent = await sendOnce(settings, request, { ...attempt, asked: target });
  }
  const { response } = sent;
  if (!tellsTime(settings, url, response)) return sent;
  let offsetMs: number;
  try {
    offsetMs = clocks.correct(url, response);
  } catch (error) {
    await discard(response);
    throw error;
  }
  if (stream !== null) return sent; // cannot be sent again, but later requests have the right time
  await discard(response);
  return sendOnce(settings, request, { ...attempt, offsetMs });
}

/** Whether a response has refused the time of its request, and may be believed. */
export function tellsTime({ clocks }: Settings, url: URL, response: Response): boolean {
  if (isLate(response) && clocks.mayCorrect(url, response)) return true;
  clocks.confirm(url, response);
  return false;
}

/** @returns how to send a request, and the target where it can prove its answers, and these may be asked for */
export async function attemptTo(settings: Settings, { url, signal }: Outgoing, how: AnswerOptions) {
  const { targetId, called, target } = await untilAborted(signal, findTarget(settings, url, how));
  const needsProof = how.answers === 'required' || (target !== undefined && url.protocol !== 'https:');
  const { allowsUnprovenBody } = how;
  const asked = needsProof || isAboutKeys(called) ? target : undefined;
  const attempt: Attempt = { targetId, called, needsProof, allowsUnprovenBody, asked };
  return { attempt, target };
}

/** Whether the answer may change what this machine knows about its keys. */
export function isAboutKeys(called: CalledTarget | undefined): boolean {
  return called?.rotation !== undefined || called?.accepted !== undefined;
}

/** @returns the ID to name, and the target itself where it can prove its answers, and these may be asked for */
async function findTarget({ open, targetOf, keys, now }: Settings, url: URL, { answers }: AnswerOptions) {
  await open(); // first: without a key there is nothing to look up
  const found = (await targetOf?.(url.host)) ?? undefined;
  const target = answers === 'off' ? undefined : await provingTarget(found, keys, now());
  if (target === undefined && answers === 'required') throw cannotProve(url, found);
  return typeof found === 'object'
    ? { targetId: found.deviceId, called: found, target }
    : { targetId: found, target };
}

async function sendOnce(settings: Settings, request: Outgoing, attempt: Attempt): Promise<Sent> {
  return deliver(settings, request, attempt, await signOnce(settings, request, attempt));
}

/** What identifies a request at its target, which carries out at most one of the requests that share it. */
interface Claim {
  readonly nonce: string;
  /** Unix seconds, by the clock of the target. */
  readonly created: number;
  /** How long ago that was. */
  readonly elapsedMs: () => number;
}

/** A request with its signature. */
export type Signed = Awaited<ReturnType<typeof sign>>;

/**
 * Signs a request, with a nonce of its own.
 *
 * @param before the request whose time and nonce it has
 */
export function signOnce(
  settings: Settings,
  request: Outgoing,
  attempt: Attempt,
  before?: Claim,
): Promise<Signed> {
  return untilAborted(request.signal, sign(settings, request, attempt, before));
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
    // The very same request, since somebody in between may have answered: a target carries it out once at most.
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
    note(error as object);
    throw error;
  }
}

/**
 * Takes the answer to a request: proves it where that was asked for, and learns from it.
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
  // A proven answer is another one.
  if (response === received && isOfUnknown(response) && !isPrivateChannel(request.url))
    callSafely(() => attempt.called?.unproven?.(response), 'unproven');
  noteAnswer(response, { nonce, authority: normalizeAuthority(request.url.host) ?? '', target: targetId });
  return { response, renewing };
}

/** @returns a promise if another key follows: of a device that is rotating its key, or another working key */
function otherKeyFor(
  { url }: Outgoing,
  response: Response,
  { called, needsProof }: Attempt,
  worker: RequestSigner | undefined,
): Promise<void> | undefined {
  let renewing: Promise<void> | undefined;
  if (isOfUnknown(response))
    callSafely(() => {
      // Nothing proves such a refusal. Where that counts, it changes no key.
      if (!needsProof && isPrivateChannel(url) && called?.refused?.()) renewing = Promise.resolve();
      else if (refusalOf(response) === 'unauthorized') renewing = worker?.refused?.();
    }, 'refused');
  return renewing;
}

/** Whether a response says that the target does not know the key, or that its time is over. */
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
 * Sends the very same bytes again, after an answer to them that is not proven. That gives nobody more than they have: somebody
 * on the way can send them again, too, and a target carries them out once at most.
 *
 * @param answer the error about that answer, or the answer itself if it is a refusal
 * @returns undefined if it is about another request, such as one after a redirect, or its body is a stream
 */
export function resendOf(answer: object, request: Outgoing): (() => Promise<Response>) | undefined {
  const known = resends.get(answer);
  return known?.request === request ? async () => (await known.send()).response : undefined;
}

/** Signs the request once more, with the time and the nonce of the one before. As for {@link resendOf}. */
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

/** It leaves a body coded if the program asks for none, and a proxy compresses it nevertheless. */
const isDeno = 'Deno' in globalThis;

async function sign(
  settings: Settings,
  request: Outgoing,
  { targetId, called, asked, offsetMs }: Attempt,
  before: Claim | undefined,
) {
  const { open, clocks, format, crypto } = settings;
  const opened = called?.signer ?? (await open());
  const worker = await opened.requestSigner?.();
  const signer = worker === undefined ? opened : signerOf(worker);
  throwIfAborted(request.signal); // a key may wait for somebody's touch
  const claim: Claim = before ?? {
    nonce: toBase64Url(crypto.randomBytes(16)),
    created: clocks.seconds(request.url.origin, offsetMs), // not earlier: opening a key can be slow
    elapsedMs: stopwatch(settings),
  };
  const { added, base, signature } = await signParts(toView(request), request.bytes, signer, {
    format,
    targetDeviceId: targetId,
    nonce: claim.nonce,
    created: claim.created,
    asksForProof: asked !== undefined,
    rotation: called?.rotation,
    crypto,
  });
  const headers = new Headers(request.headers);
  for (const [name, value] of Object.entries(added)) headers.set(name, value);
  if (asked !== undefined && !isDeno && !headers.has('accept-encoding'))
    headers.set('accept-encoding', 'identity');
  return { ...claim, headers, worker, base, signature };
}

/** A signer with just this working key. Its own may be another one a moment later. */
function signerOf(worker: RequestSigner): Signer {
  return {
    publicKey: worker.publicKey,
    sign: (message) => worker.sign(message),
    requestSigner: () => worker,
  };
}
