import { refusalOf } from '../core/client/refusal';

/** Instances of a target look at their common list once a second at least. */
const PAUSES_MS = [100, 300, 700, 1000];

/**
 * Sends the first request after an enrolment, again where it meets an instance of the target that has not heard of that
 * yet: such a refusal comes before any handler.
 *
 * @param isRepeatable whether it can be sent a second time
 */
export async function untilKnown(send: () => Promise<Response>, isRepeatable: boolean): Promise<Response> {
  let response = await send();
  for (const ms of isRepeatable ? PAUSES_MS : []) {
    if (refusalOf(response) !== 'unauthorized') break;
    await response.body?.cancel();
    await new Promise((resolve) => setTimeout(resolve, ms));
    response = await send();
  }
  return response;
}

/** Whether `fetch` can be called with the same arguments once more: a stream is read only once. */
export function isRepeatable(input: string | URL | Request, init: RequestInit | undefined): boolean {
  const body = init?.body ?? (input instanceof Request ? input.body : null);
  return !(body instanceof ReadableStream) && init?.signal?.aborted !== true;
}
