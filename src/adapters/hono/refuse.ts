import type { Context } from 'hono';
import { toUtf8 } from '../../core/encoding';
import type { Refused } from '../../core/verify';
import { discardRest } from '../node/refuse';
import { isHttp2 } from '../node/request';
import { isFromParser } from '../node/transport';
import { incomingOf } from './view';

/**
 * The answer to a request that may not pass. On Node the connection ends behind it where the body is still on the way.
 * The other runtimes see to that by themselves, and told to close they reset it before the client has read the answer.
 */
export function refusalResponse(c: Context, { message, bodyUnread }: Refused): Response {
  const { status, headers, body } = message;
  const incoming = incomingOf(c);
  const isOurs = incoming !== undefined && !isHttp2(incoming) && isFromParser(incoming);
  if (!isOurs || !bodyUnread || incoming.complete) return new Response(body, { status, headers });
  const closing = { ...headers, connection: 'close', 'content-length': String(body.length) };
  // Node closes the connection with the end of the body, so that end waits for the client: see node/refuse.ts.
  let isGone = false;
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(toUtf8(body));
      discardRest(incoming, () => isGone || controller.close());
    },
    cancel() {
      isGone = true;
    },
  });
  return new Response(stream, { status, headers: closing });
}
