import type { RefusalMessage } from '../../core/refusal';
import { isHttp2, type NodeRequest, type NodeResponse } from './request';

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
  // HTTP/2 has no such header: the stream is reset when the answer is out.
  if (bodyUnread && !request.complete && !isHttp2(request)) response.setHeader('connection', 'close');
  (response.end as (body: string) => void)(message.body);
}
