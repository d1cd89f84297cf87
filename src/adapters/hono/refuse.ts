import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { toUtf8 } from '../../core/encoding';
import type { Answered, Refused } from '../../core/verify/verdict';
import { discardRest } from '../node/refuse';
import { isHttp2, type NodeRequest } from '../node/request';
import { isFromParser } from '../node/transport';
import { incomingOf } from './view';

/**
 * What Hono's own middleware throws for a request that may not pass: `some()` of hono/combine then asks the next one, and
 * whatever sends it calls `getResponse()`. On Node the connection ends behind the answer where the body is still on the way.
 * The other runtimes see to that by themselves, and told to close they reset it before the client has read the answer.
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
 * Node closes the connection with the end of the body, so that end waits for the client: see node/refuse.ts. Nothing is
 * thrown away before the answer is sent, since somebody else may let the request in.
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
