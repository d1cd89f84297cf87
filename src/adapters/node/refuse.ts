import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RefusalMessage } from '../../core/refusal';
import { isHttp2, type NodeRequest, type NodeResponse } from './request';

/** How long a connection outlives the refusal of a request whose body is still on the way, and for how many bytes. */
const LINGER_MS = 1000;
const LINGER_BYTES = 16_777_216;

/**
 * Answers a request that may not pass. Where its body is still on the way the connection is closed behind the answer,
 * so that nobody makes this server take in what it does not want.
 */
export function refuse(
  request: NodeRequest,
  response: NodeResponse,
  message: RefusalMessage,
  bodyUnread: boolean,
): void {
  if (response.headersSent || response.writableEnded) return; // the client has gone, or somebody else has answered
  response.statusCode = message.status;
  for (const [name, value] of Object.entries(message.headers)) response.setHeader(name, value);
  response.setHeader('content-length', Buffer.byteLength(message.body));
  const unread = bodyUnread && !request.complete;
  if (unread && !isHttp2(request)) {
    endLingering(request, response as ServerResponse, message.body);
    return;
  }
  (response.end as (body: string) => void)(message.body);
  // HTTP/2 resets the one stream when the answer is out, and the connection stays.
  if (unread && isHttp2(request)) request.stream.close();
}

/**
 * Sends the whole answer, and ends it only when the rest of the body has been thrown away.
 *
 * A connection that is closed on top of unread bytes is reset, and a client that writes its whole body before it
 * reads then sees a broken pipe in place of the 401 or 413. The price is a socket that stays for a second at most;
 * nothing is kept in memory meanwhile. Who sends more, or more slowly, may still be cut off.
 */
function endLingering(request: IncomingMessage, response: ServerResponse, body: string): void {
  response.setHeader('connection', 'close');
  response.flushHeaders(); // the answer to HEAD has nothing else
  response.write(body);

  let discarded = 0;
  const discard = (chunk: Buffer) => {
    discarded += chunk.length;
    if (discarded > LINGER_BYTES) end();
  };
  const end = () => {
    clearTimeout(timer);
    request.off('data', discard).off('end', end).off('close', end);
    response.end();
  };
  const timer = setTimeout(end, LINGER_MS);
  request.on('data', discard).on('end', end).on('close', end);
}
