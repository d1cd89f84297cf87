import { pause, untilAborted } from '../../core/abort';
import { provenHead } from '../../core/answers/proven-by';
import { type AnswerUnprovenError, isAmeshError } from '../../core/errors/amesh-error';
import type { PreparedRequest } from '../../core/sign/client';
import { refusalOf } from '../../core/sign/refusal';
import { discard } from '../../core/sign/send';
import { isPrivateChannel } from '../../core/wire/private-channel';
import type { HeldGrant } from './held-grant';

/** Instances of a target check their shared list at least once a second. */
const PAUSES_MS = [100, 300, 700, 1000];

export interface UntilKnownOptions {
  /** Whether this machine has just enrolled for this request. */
  readonly isNew: boolean;
  readonly grant: Pick<HeldGrant, 'enrolAgain'> | undefined;
  /** Logs a line once. */
  readonly tell: (line: string) => void;
}

/**
 * Sends a request of a machine that enrolled. It repeats the request if an instance of the target does not know about the
 * enrolment yet, and once more after a new enrolment. It sends the same bytes each time. A streamed body can be sent only once.
 *
 * It signs the request again only if {@link mayBeSignedAnew} says so. Otherwise somebody in between may have had the request
 * carried out, so it sends the same signature again, which is carried out at most once. It does the same if a proof was asked for:
 * such a refusal has none, since a target signs nothing for a device that it does not know.
 */
export async function untilKnown(request: PreparedRequest, options: UntilKnownOptions): Promise<Response> {
  const { isNew, grant, tell } = options;
  const first = await request.send().catch((error) => afterUnproven(request, error, options));
  const response = isNew ? await whileUnknown(request, first) : first;
  if (!isUnknown(response)) return response;
  const isKnown = await enrolsAgain(request, grant);
  const isRepeatable = mayRepeat(request, response);
  if (isKnown && isRepeatable) return whileUnknown(request, await again(request, response));
  if ((isKnown || isNew) && !isRepeatable)
    tell(
      `${request.url.host} refused a request right after this machine enrolled. ${request.isRepeatable ? 'It was sent over plain http, where nothing proves that it was not carried out' : 'Its body is a stream, which can be sent only once'}: call again.`,
    );
  return response;
}

async function afterUnproven(
  request: PreparedRequest,
  error: unknown,
  { isNew, grant }: UntilKnownOptions,
): Promise<Response> {
  let last = error;
  for (const enrols of isNew ? [false, true] : [true]) {
    if (!isUnproven(last) || (enrols && !(await enrolsAgain(request, grant)))) break;
    for (const ms of PAUSES_MS) {
      if (!isUnproven(last)) break;
      await pause(ms, request.signal);
      try {
        return await request.resend(last);
      } catch (reason) {
        if (reason === last) throw reason; // the body of the request is a stream
        last = reason;
      }
    }
  }
  throw last;
}

/** @returns whether the target accepted a new enrolment. It goes on after the signal of this request ends the wait for it */
async function enrolsAgain(
  { url, signal }: PreparedRequest,
  grant: UntilKnownOptions['grant'],
): Promise<boolean> {
  return grant !== undefined && untilAborted(signal, grant.enrolAgain(url));
}

/**
 * Repeats a request, with pauses, while its response says that the target does not know this machine.
 *
 * @returns the last response
 */
async function whileUnknown(request: PreparedRequest, first: Response): Promise<Response> {
  let response = first;
  for (const ms of PAUSES_MS) {
    if (!isUnknown(response) || !mayRepeat(request, response)) break;
    await pause(ms, request.signal);
    response = await again(request, response);
  }
  return response;
}

async function again(request: PreparedRequest, refused: Response): Promise<Response> {
  await discard(refused);
  return mayBeSignedAnew(request, refused) ? request.send() : request.resend(refused);
}

/** Whether a refused request may be accepted if it is sent again, and is then carried out at most once. */
function mayRepeat(request: PreparedRequest, refused: Response): boolean {
  // A target claims the nonce of a request before it finds out that the trust in the device has ended.
  const canBeSame = refusalOf(refused) !== 'device_expired';
  return request.isRepeatable && (canBeSame || mayBeSignedAnew(request, refused));
}

/**
 * Whether a refused request may be signed with another nonce: either nobody but the target can have written the refusal, and that
 * comes before any handler; or the request has no effect.
 */
export function mayBeSignedAnew(
  { url, isSafe }: Pick<PreparedRequest, 'url' | 'isSafe'>,
  refused: Response,
): boolean {
  return isSafe || isPrivateChannel(url) || provenHead(refused) !== undefined;
}

/** Whether an answer that is not proven says that the target does not know this machine. */
function isUnproven(error: unknown): error is AnswerUnprovenError {
  return (
    isAmeshError(error) &&
    error.code === 'answer_unproven' &&
    isOfUnknown((error as AnswerUnprovenError).claims)
  );
}

/** Whether a target says that it does not know this machine. A refusal after a redirect may have come after a handler. */
export function isUnknown(response: Response): boolean {
  return isOfUnknown(refusalOf(response)) && !response.redirected;
}

function isOfUnknown(code: string | null | undefined): boolean {
  return code === 'unauthorized' || code === 'device_expired';
}
