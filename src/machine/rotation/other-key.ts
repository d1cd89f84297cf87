import { isUnknown } from '../../bootstrap/grants/until-known';
import { pause, untilAborted } from '../../core/abort';
import type { MaybePromise } from '../../core/crypto/provider';
import type { AnswerUnprovenError } from '../../core/errors/amesh-error';
import { isAmeshError } from '../../core/errors/amesh-error';
import type { PreparedRequest } from '../../core/sign/client';
import { discard } from '../../core/sign/send';
import { isSafe } from '../../core/wire/line';
import type { CallerRotation } from './caller-rotation';
import type { OpenedKeys } from './live-device';

/** The pauses before each attempt: some instances of a target may learn about a next key a moment later than others. */
const PAUSES_MS = [0, 300, 700, 1000];

/**
 * The same request, for use during a rotation. If answers have to be proven, a target cannot prove that it does not know a key. So
 * after such a refusal it is asked with the other key, and the request is sent again in a way in which it cannot be carried out
 * twice.
 */
export function withOtherKey(
  request: PreparedRequest,
  {
    rotation,
    opened,
  }: { readonly rotation: CallerRotation; readonly opened: () => MaybePromise<OpenedKeys> },
): PreparedRequest {
  const { signal } = request;
  const send = async () => {
    let response: Response;
    try {
      response = await request.send();
    } catch (error) {
      if (!isOfUnknown(error)) throw error;
      const how = await untilAborted(signal, rotation.doubtful.afterUnproven(error, request, await opened()));
      if (how === undefined || !request.isRepeatable) throw error;
      if (how === 'anew') return request.send();
      return how === 'instead' ? request.sendInstead(error) : resend(request, error);
    }
    if (!isUnknown(response) || !request.isRepeatable) return response;
    const how = await untilAborted(
      signal,
      rotation.doubtful.afterUnproven(response, request, await opened()),
    );
    // The request did not ask for a proof, so the target has not claimed its nonce for both keys.
    if (how === undefined || how === 'instead') return response;
    await discard(response);
    return how === 'anew' ? request.send() : request.resend(response);
  };
  return { ...request, send };
}

/**
 * Whether a request that the program sends itself may be signed again, by the other key and with another nonce, after an answer
 * that is not proven. If not, the other key may still sign the next request.
 */
export async function mayHaveOtherKey(
  request: { readonly url: URL; readonly method: string },
  answer: unknown,
  {
    rotation,
    opened,
  }: { readonly rotation: CallerRotation; readonly opened: () => MaybePromise<OpenedKeys> },
): Promise<boolean> {
  if (isAmeshError(answer) && !isOfUnknown(answer)) return false;
  const { url, method } = request;
  return (
    (await rotation.doubtful.afterUnproven(
      answer as object,
      { url, isSafe: isSafe(method) },
      await opened(),
    )) === 'anew'
  );
}

async function resend(request: PreparedRequest, error: AnswerUnprovenError): Promise<Response> {
  let last = error;
  for (const ms of PAUSES_MS) {
    await pause(ms, request.signal);
    try {
      return await request.resend(last);
    } catch (reason) {
      if (reason === last || !isOfUnknown(reason)) throw reason;
      last = reason;
    }
  }
  throw last;
}

/** Whether an answer that is not proven says that the target does not know the key. */
function isOfUnknown(error: unknown): error is AnswerUnprovenError {
  if (!isAmeshError(error) || error.code !== 'answer_unproven') return false;
  const { claims } = error as AnswerUnprovenError;
  return claims === 'unauthorized' || claims === 'device_expired';
}
