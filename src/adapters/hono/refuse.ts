import type { Context } from 'hono';
import type { Refused } from '../../core/verify';
import { discardRest } from '../node/refuse';
import { isHttp2 } from '../node/request';
import { incomingOf } from './view';

/** The answer to a request that may not pass. Where its body is still on the way the connection ends behind it. */
export function refusalResponse(c: Context, { message, bodyUnread }: Refused): Response {
  const { status, headers, body } = message;
  const incoming = incomingOf(c);
  const unread = bodyUnread && incoming?.complete !== true;
  // HTTP/2 has no such header, and Node's server for Hono ends the stream by itself.
  if (!unread || (incoming !== undefined && isHttp2(incoming)))
    return new Response(body, { status, headers });
  const closing = { ...headers, connection: 'close', 'content-length': String(body.length) };
  if (incoming === undefined) return new Response(body, { status, headers: closing });
  // Node closes the connection with the end of the body, so that end waits for the client: see node/refuse.ts.
  let isGone = false;
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(body));
      discardRest(incoming, () => isGone || controller.close());
    },
    cancel() {
      isGone = true;
    },
  });
  return new Response(stream, { status, headers: closing });
}
