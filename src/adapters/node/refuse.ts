import type { ServerResponse } from 'node:http';
import type { Answer } from '../../core/verify/verdict';
import { isHttp2, type NodeRequest, type NodeResponse } from './request';
import { isFromParser } from './transport';

/** How long a refusal waits for the rest of a body, and for how many bytes of it. */
export const LINGER_MS = 1000;
export const LINGER_BYTES = 16_777_216;

/**
 * Answers a request that may not pass. Where its body is still on the way the connection, or the stream of HTTP/2, is
 * closed behind the answer, so that nobody makes this server take in what it does not want.
 *
 * Not at once: what is closed on top of unread bytes is reset, and a client that writes its whole body before it reads
 * then sees a broken pipe in place of the 401 or 413. The price is a connection that stays for a second at most;
 * nothing is kept in memory meanwhile. Who sends more, or more slowly, may still be cut off. A request that came over no
 * connection is answered, and that is all.
 */
export function refuse(
  request: NodeRequest,
  response: NodeResponse,
  answer: Answer,
  bodyUnread: boolean,
): void {
  if (response.headersSent || response.writableEnded) return; // the client has gone, or somebody else has answered
  response.statusCode = answer.status;
  for (const [name, value] of Object.entries(answer.headers)) response.setHeader(name, value);
  response.setHeader('content-length', Buffer.byteLength(answer.body));
  const unread = bodyUnread && !request.complete && isFromParser(request);
  if (unread && !isHttp2(request)) {
    // The client has its answer with the last byte of it; but Node closes the connection with end().
    const http1 = response as ServerResponse;
    http1.setHeader('connection', 'close');
    if (isRepeated(answer.status)) {
      discardRest(request, () => http1.end(answer.body));
      return;
    }
    http1.flushHeaders(); // the answer to HEAD has nothing else
    http1.write(answer.body);
    discardRest(request, () => http1.end());
    return;
  }
  (response.end as (body: string) => void)(answer.body);
  if (unread && isHttp2(request)) discardRest(request, () => request.stream.close());
}

/**
 * Whether clients send a request once more by themselves at this answer: the `fetch` of Node does at a 421, and fails with a
 * mismatch of the content-length where the answer begins in mid-body. So that answer waits for the body.
 */
export function isRepeated(status: number): boolean {
  return status === 421;
}

/** Throws away what still comes of a body, within the bounds above, then calls `done`. */
export function discardRest(request: NodeRequest, done: () => void): void {
  let discarded = 0;
  const discard = (chunk: Buffer) => {
    discarded += chunk.length;
    if (discarded > LINGER_BYTES) finish();
  };
  const finish = () => {
    clearTimeout(timer);
    request.off('data', discard).off('end', finish).off('close', finish);
    done();
  };
  const timer = setTimeout(finish, LINGER_MS);
  request.on('data', discard).on('end', finish).on('close', finish);
}
