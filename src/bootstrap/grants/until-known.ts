import type { PreparedRequest } from '../../core/sign/client';
import { refusalOf } from '../../core/sign/refusal';
import { discard } from '../../core/sign/send';
import type { HeldGrant } from './held-grant';

/** Instances of a target look at their common list once a second at least. */
const PAUSES_MS = [100, 300, 700, 1000];

export interface UntilKnownOptions {
  /** Whether this machine has enrolled for this very request. */
  readonly isNew: boolean;
  readonly grant: Pick<HeldGrant, 'enrolAgain'> | undefined;
  /** Says a line once. */
  readonly tell: (line: string) => void;
}

/**
 * Sends a request of a machine that has enrolled. It sends the request again where an instance of the target has not
 * heard of the enrolment yet, and once more after a new enrolment: such a refusal comes before any handler. Each time the
 * same bytes are sent. A body that is a stream can be sent only once.
 */
export async function untilKnown(request: PreparedRequest, options: UntilKnownOptions): Promise<Response> {
  const { isNew, grant, tell } = options;
  const response = await sendTo(request, await request.send(), isNew);
  if (!isUnknown(response)) return response;
  const isKnown = (await grant?.enrolAgain(request.url)) ?? false;
  if (isKnown && request.isRepeatable) return sendTo(request, await again(request, response), true);
  if ((isKnown || isNew) && !request.isRepeatable)
    tell(
      `${request.url.host} has refused a request right after the enrolment of this machine. Its body is a stream, which can be sent only once: call again.`,
    );
  return response;
}

/** The last answer: while it is a refusal, the next follows after a pause. */
async function sendTo(request: PreparedRequest, first: Response, isNew: boolean): Promise<Response> {
  let response = first;
  for (const ms of isNew && request.isRepeatable ? PAUSES_MS : []) {
    if (!isUnknown(response)) break;
    await new Promise((resolve) => setTimeout(resolve, ms));
    response = await again(request, response);
  }
  return response;
}

async function again(request: PreparedRequest, refused: Response): Promise<Response> {
  await discard(refused);
  return request.send();
}

/** A refusal after a redirect may have come from behind a handler. */
function isUnknown(response: Response): boolean {
  return refusalOf(response) === 'unauthorized' && !response.redirected;
}
