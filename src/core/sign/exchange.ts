import { answerNonce } from '../answers/answer';
import { type AnswerOptions, cannotProve, type ProvingTarget, provingTarget } from '../answers/asking';
import type { RequestSigner, Signer } from '../crypto/provider';
import { toBase64Url } from '../encoding';
import { AnswerUnprovenError } from '../errors/amesh-error';
import { callSafely } from '../errors/call-safely';
import type { DelegatedSigner } from '../statements/delegated-signer';
import { normalizeAuthority } from '../wire/authority';
import { isPrivateChannel } from '../wire/private-channel';
import { waitAtMost } from '../within';
import { throwIfAborted, untilAborted } from './abort';
import { noteAnswer } from './answered';
import type { Settings } from './options';
import { type Outgoing, toView } from './outgoing';
import { prove } from './prove';
import { type ClientRefusal, explainRefusal, refusalOf, shownUrl, tellRefusal } from './refusal';
import { discard, send, withoutRepeat } from './send';
import { idOf, signParts } from './sign-request';

/** How to send a request once. */
interface Attempt {
  /** The device ID to name. */
  readonly targetId: string | undefined;
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
interface Sent {
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
  // Over http somebody in between may have answered a request that the server carries out.
  if (renewing === undefined || request.stream !== null || !isPrivateChannel(request.url)) return response;
  let isRenewed = false;
  const renewed = renewing.then(() => {
    isRenewed = true;
  });
  await untilAborted(request.signal, waitAtMost(RENEWAL_MS, renewed));
  if (!isRenewed) return response;
  await discard(response);
  return (await sendInTime(settings, request, how)).response;
}

/**
 * Sends a request, and once more with a corrected clock if the server refused its time. If nothing proves that refusal, but the
 * target can, it is asked for a proof before.
 */
async function sendInTime(settings: Settings, request: Outgoing, how: AnswerOptions): Promise<Sent> {
  const { clocks } = settings;
  const { url, stream } = request;
  const { targetId, target } = await untilAborted(request.signal, findTarget(settings, url, how));
  const needsProof = how.answers === 'required' || (target !== undefined && url.protocol !== 'https:');
  const { allowsUnprovenBody } = how;
  const attempt = { targetId, needsProof, allowsUnprovenBody, asked: needsProof ? target : undefined };
  let sent = await sendOnce(settings, request, attempt);
  if (
    isLate(sent.response) &&
    !needsProof &&
    target !== undefined &&
    stream === null &&
    isPrivateChannel(url)
  ) {
    await discard(sent.response);
    sent = await sendOnce(settings, request, { ...attempt, asked: target, allowsUnprovenBody: true });
  }
  const { response } = sent;
  if (!isLate(response) || !clocks.mayCorrect(url, response)) {
    clocks.confirm(url, response);
    return sent;
  }
  if (stream === null) await discard(response);
  const offsetMs = clocks.correct(url, response);
  if (stream !== null) return sent; // cannot be sent again, but later requests have the right time
  return sendOnce(settings, request, { ...attempt, offsetMs });
}

function isLate(response: Response): boolean {
  return refusalOf(response) === 'timestamp_out_of_range';
}

/** @returns the ID to name, and the target itself where it can prove its answers, and these may be asked for */
async function findTarget({ open, targetOf, keys }: Settings, url: URL, { answers }: AnswerOptions) {
  await open(); // first: without a key there is nothing to look up
  const found = (await targetOf?.(url.host)) ?? undefined;
  const target = answers === 'off' ? undefined : await provingTarget(found, keys);
  if (target === undefined && answers === 'required') throw cannotProve(url, found);
  return { targetId: typeof found === 'object' ? found.deviceId : found, target };
}

async function sendOnce(settings: Settings, request: Outgoing, attempt: Attempt): Promise<Sent> {
  const nonce = toBase64Url(settings.crypto.randomBytes(16));
  const elapsedMs = stopwatch(settings);
  const signed = await untilAborted(request.signal, sign(settings, request, nonce, attempt));
  return deliver(settings, request, attempt, { ...signed, nonce, elapsedMs });
}

/** A request with its signature. */
interface Signed extends Awaited<ReturnType<typeof sign>> {
  readonly nonce: string;
  /** How long ago it was signed. */
  readonly elapsedMs: () => number;
}

async function deliver(
  settings: Settings,
  request: Outgoing,
  attempt: Attempt,
  signed: Signed,
): Promise<Sent> {
  const { headers, worker, base, signature, nonce, elapsedMs } = signed;
  let received: Response;
  try {
    received = await send(settings.doFetch, request, headers);
  } catch (error) {
    const again = withoutRepeat(request, error);
    if (again === null) throw error;
    if (attempt.asked === undefined) return sendOnce(settings, again, attempt);
    // The very same request, since nobody proved the answer to it: a target carries it out once at most.
    headers.set('content-length', again.headers.get('content-length') as string);
    received = await send(settings.doFetch, again, headers);
  }
  let renewing: Promise<void> | undefined;
  if (refusalOf(received) === 'unauthorized')
    callSafely(() => {
      renewing = worker?.refused?.();
    }, 'refused');
  const { asked, targetId } = attempt;
  const nonceOf = () => answerNonce(base, signature, settings.crypto);
  const prove = async (target: ProvingTarget) =>
    proven(
      settings,
      { request, headers, attempt, asked: target, nonce: await nonceOf(), tookMs: elapsedMs() },
      received,
    ).catch((error) => {
      if (request.stream === null)
        resends.set(error, { request, send: () => deliver(settings, request, attempt, signed) });
      throw error;
    });
  const response = asked === undefined ? received : await prove(asked);
  noteAnswer(response, { nonce, authority: normalizeAuthority(request.url.host) ?? '', target: targetId });
  return { response, renewing };
}

const resends = new WeakMap<object, { readonly request: Outgoing; readonly send: () => Promise<Sent> }>();

/**
 * Sends the very same bytes again, after an answer to them that is not proven. That gives nobody more than they have: whoever is
 * on the way can send them again, too, and a target carries them out once at most.
 *
 * @returns undefined if the error is about another request, such as one after a redirect, or its body is a stream
 */
export function resendOf(error: object, request: Outgoing): (() => Promise<Response>) | undefined {
  const known = resends.get(error);
  return known?.request === request ? async () => (await known.send()).response : undefined;
}

interface Asked {
  readonly request: Outgoing;
  /** As they were sent. */
  readonly headers: Headers;
  readonly attempt: Attempt;
  readonly asked: ProvingTarget;
  /** What the answer has to contain. */
  readonly nonce: string;
  /** How long after the request was signed its answer came. */
  readonly tookMs: number;
}

/**
 * For so long a target is sure to remember a request that it has carried out. Later, somebody who held back the answer could have
 * the same request refused for its time, and hand over that refusal.
 */
const REMEMBERED_MS = 10_000;

/** By both clocks: one may be set back meanwhile, the other stands still while a machine sleeps. */
function stopwatch({ now }: Settings): () => number {
  const [startMs, startTicks] = [now(), performance.now()];
  return () => Math.max(now() - startMs, performance.now() - startTicks);
}

const CONDITIONS = ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range'];

/** @throws AnswerUnprovenError */
async function proven(
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
    unproven: (why) => unproven(settings, request, response.status, why),
  });
  if (typeof result !== 'string') {
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
  why: string,
  claim: ClientRefusal | null = null,
): AnswerUnprovenError {
  const code = claim?.code;
  const shown = shownUrl(url);
  const what = `The answer of ${shown} (${code === undefined ? status : `${status} ${code}`}) is not proven: ${why}.`;
  const error = new AnswerUnprovenError(
    `${what} The request may have been carried out.`,
    { status, claims: code },
    claim === null ? undefined : `If it is genuine: ${claim.detail} ${claim.fix}`,
  );
  const { detail, fix } = error;
  if (onRefusal !== undefined) tellRefusal({ code: error.code, status, url: shown, detail, fix }, onRefusal);
  return error;
}

/** Explains what an answer means, if it is a refusal of amesh. */
export async function explainAnswer(
  { fetch, now, open, crypto }: Settings,
  sent: { readonly request: Outgoing; readonly response: Response; readonly signed: boolean },
): Promise<ClientRefusal | null> {
  const { request, response, signed } = sent;
  const { url, options } = request;
  const signer = await open();
  const { delegation } = signer as Partial<DelegatedSigner>;
  // Not by requestSigner(): it may have ended meanwhile, or need a new signature of the device.
  const ownId = async () => delegation?.deviceId ?? idOf(signer, crypto);
  const isDelegate = delegation !== undefined;
  return explainRefusal(url, response, { signed, fetch, options, nowMs: now(), isDelegate, ownId });
}

/** It leaves a body coded if the program asks for none, and a proxy compresses it all the same. */
const isDeno = 'Deno' in globalThis;

async function sign(
  { open, clocks, format, crypto }: Settings,
  request: Outgoing,
  nonce: string,
  { targetId, asked, offsetMs }: Attempt,
) {
  const opened = await open();
  // Now: the time of the signature is read below, and a new working key can take long.
  const worker = await opened.requestSigner?.();
  const signer = worker === undefined ? opened : signerOf(worker);
  throwIfAborted(request.signal); // a key may wait for somebody's touch
  const { added, base, signature } = await signParts(toView(request), request.bytes, signer, {
    format,
    targetDeviceId: targetId,
    nonce,
    created: clocks.seconds(request.url.origin, offsetMs), // not earlier: opening a key can be slow
    asksForProof: asked !== undefined,
    crypto,
  });
  const headers = new Headers(request.headers);
  for (const [name, value] of Object.entries(added)) headers.set(name, value);
  if (asked !== undefined && !isDeno && !headers.has('accept-encoding'))
    headers.set('accept-encoding', 'identity');
  return { headers, worker, base, signature };
}

/** A signer with just this working key. Its own may be another one a moment later. */
function signerOf(worker: RequestSigner): Signer {
  return {
    publicKey: worker.publicKey,
    sign: (message) => worker.sign(message),
    requestSigner: () => worker,
  };
}
