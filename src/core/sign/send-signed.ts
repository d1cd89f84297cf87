import { untilAborted } from '../abort';
import type { AnswerOptions } from '../answers/asking';
import { isPrivateChannel } from '../wire/private-channel';
import { waitAtMost } from '../within';
import { attemptTo } from './attempt';
import { type Sent, sendOnce } from './exchange';
import type { Settings } from './options';
import type { Outgoing } from './outgoing/outgoing';
import { isLate } from './prove';
import { discard } from './send';

/** How long a response waits for another working key: a device key may wait for a person. */
const RENEWAL_MS = 2000;

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
 * Whether a request can be sent again with another key. Over plain http it cannot: somebody in between may have answered a request
 * that the server carries out.
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
 * target can prove its answers, the client first repeats the request and asks for a proof.
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
  if (stream !== null) return sent; // it cannot be sent again, but later requests have the right time
  await discard(response);
  return sendOnce(settings, request, { ...attempt, offsetMs });
}

/** Whether a response refuses the time of its request, and may be believed. */
export function tellsTime({ clocks }: Settings, url: URL, response: Response): boolean {
  if (isLate(response) && clocks.mayCorrect(url, response)) return true;
  clocks.confirm(url, response);
  return false;
}
