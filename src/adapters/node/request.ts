import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

/** A request of node:http, or of the compatibility API of node:http2. */
export type NodeRequest = (IncomingMessage | Http2ServerRequest) & {
  /** Express and Connect keep the target as sent here, while mounted apps see a shorter `url`. */
  readonly originalUrl?: string;
  /** What a parser has made of the body. */
  readonly body?: unknown;
};

export type NodeResponse = ServerResponse | Http2ServerResponse;

export function isHttp2(request: NodeRequest): request is Http2ServerRequest & NodeRequest {
  return request.httpVersionMajor === 2;
}
