import type { ServerResponse } from 'node:http';
import { coveredFields } from '../../../core/answers/answer';
import type { AnswerHeaders, Refused } from '../../../core/verify/verdict';
import { isHttp2, type NodeRequest, type NodeResponse } from '../request';
import { discardRest, isFromParser } from '../transport';
import { holdHead } from './held-head';
import { letPass } from './prove-answer';

/**
 * Sends a refusal. If the body is still arriving, this function closes the connection, or the HTTP/2 stream, after the response, so
 * that clients cannot make this server read a body that it has refused.
 *
 * It does not close immediately: closing with unread bytes resets the connection, and a client that writes its whole body before it
 * reads would see a broken pipe instead of the 401 or 413. The cost is a connection that stays open for at most a second, without
 * memory for the body. A larger or slower body may still be cut off. A request without a connection only gets the response.
 */
export function refuse(
  request: NodeRequest,
  response: NodeResponse,
  { answer, bodyUnread }: Pick<Refused, 'answer' | 'bodyUnread'>,
): void {
  if (response.headersSent || response.writableEnded) return; // the client disconnected, or somebody else responded
  letPass(response); // an earlier verifier may have wanted to sign it
  if (answer.headers.signature !== undefined) keepSigned(response, answer.headers);
  response.statusCode = answer.status;
  for (const [name, value] of Object.entries(answer.headers)) response.setHeader(name, value);
  response.setHeader('content-length', Buffer.byteLength(answer.body));
  const unread = bodyUnread && !request.complete && isFromParser(request);
  if (unread && !isHttp2(request)) {
    // The client has the whole response with its last byte, but Node closes the connection with end().
    const http1 = response as ServerResponse;
    http1.setHeader('connection', 'close');
    if (isRepeated(answer.status)) {
      discardRest(request, () => http1.end(answer.body));
      return;
    }
    http1.flushHeaders(); // a response to HEAD has nothing else
    http1.write(answer.body);
    discardRest(request, () => http1.end());
    return;
  }
  (response.end as (body: string) => void)(answer.body);
  if (unread && isHttp2(request)) discardRest(request, () => request.stream.close());
}

/** Removes headers that a signature would have to cover, and that others have set, in hooks of `writeHead()` as well. */
function keepSigned(response: NodeResponse, signed: AnswerHeaders): void {
  const { writeHead } = response as ServerResponse;
  (response as { writeHead(...args: unknown[]): unknown }).writeHead = (...args) => {
    const head = holdHead(response, () => writeHead.apply(response as ServerResponse, args as [number]));
    const names = head === null ? [] : [...coveredFields(head.headers), 'signature-input', 'signature'];
    head?.release(Object.fromEntries(names.map((name) => [name, signed[name]])));
    return response;
  };
}

/**
 * Whether clients repeat a request after this status. Node's `fetch` does so after a 421, and fails with a content-length
 * mismatch if the response begins in the middle of the body. So that response waits for the body.
 */
export function isRepeated(status: number): boolean {
  return status === 421;
}
