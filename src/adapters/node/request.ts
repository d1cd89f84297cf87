import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

/** A request of node:http, or of the compatibility API of node:http2. */
export type NodeRequest = (IncomingMessage | Http2ServerRequest) & {
  /** Express and Connect keep the target as sent here, while mounted apps see a shorter `url`. */
  readonly originalUrl?: string;
  /** What the mounts of Express have taken off `url`. */
  readonly baseUrl?: string;
  /** Where method-override keeps the method as sent. */
  readonly originalMethod?: string;
  /** What a parser has made of the body. */
  readonly body?: unknown;
  /** The bytes, where what has read them has kept them so: Cloud Functions, Firebase, NestJS, many a hook of a parser. */
  readonly rawBody?: unknown;
};

export type NodeResponse = ServerResponse | Http2ServerResponse;

/** By its stream: anybody can write HTTP/2.0 into the request line of HTTP/1, and Node takes the number from there. */
export function isHttp2(request: NodeRequest): request is Http2ServerRequest & NodeRequest {
  return request.httpVersionMajor === 2 && (request as Partial<Http2ServerRequest>).stream !== undefined;
}
