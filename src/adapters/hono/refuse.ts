import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { toUtf8 } from '../../core/encoding';
import type { Answered, Refused } from '../../core/verify/verdict';
import { isHttp2, type NodeRequest } from '../node/request';
import { discardRest, isFromParser } from '../node/transport';
import { incomingOf } from './view';

/**
 * The error that Hono's own middleware throws for a refusal: `some()` of hono/combine then tries the next one, and the
 * error handler calls `getResponse()`. On Node, the connection is closed after the response if the body is still arriving.
 * Other runtimes close it themselves; with `Connection: close` they would reset it before the client has read the response.
 */
export function refusal(c: Context, { answer, bodyUnread }: Refused | Answered): HTTPException {
  const { status, headers, body } = answer;
  const incoming = incomingOf(c);
  const isOurs = incoming !== undefined && !isHttp2(incoming) && isFromParser(incoming);
  const res =
    isOurs && bodyUnread && !incoming.complete
      ? new Response(closingBody(incoming, body), {
          status,
          headers: { ...headers, connection: 'close', 'content-length': String(body.length) },
        })
      : new Response(body, { status, headers });
  return new HTTPException(status as 401, { res, message: body });
}

/**
 * Node closes the connection at the end of the response, so that end waits until the client has sent its body: see
 * node/answers/refuse.ts. Nothing is discarded before the response is sent, since other middleware may still accept the request.
 */
function closingBody(incoming: NodeRequest, text: string): ReadableStream<Uint8Array> {
  let isGone = false;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        controller.enqueue(toUtf8(text));
        return new Promise((resolve) => {
          discardRest(incoming, () => {
            if (!isGone) controller.close();
            resolve();
          });
        });
      },
      cancel() {
        isGone = true;
      },
    },
    { highWaterMark: 0 },
  );
}
