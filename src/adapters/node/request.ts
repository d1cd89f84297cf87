import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

/** A request of node:http, or of the compatibility API of node:http2. */
export type NodeRequest = (IncomingMessage | Http2ServerRequest) & {
  /** The original target in Express and Connect, whose mounted apps see a shorter `url`. */
  readonly originalUrl?: string;
  /** The part of the path that Express's mounts removed from `url`. */
  readonly baseUrl?: string;
  /** The original method, kept by method-override. */
  readonly originalMethod?: string;
  /** What a parser has made of the body. */
  readonly body?: unknown;
  /** The bytes, if a reader kept them: Cloud Functions, Firebase, NestJS, hooks of parsers. */
  readonly rawBody?: unknown;
};

export type NodeResponse = ServerResponse | Http2ServerResponse;

/**
 * Recognised by its stream, and not by its version: Node takes that from the request line of HTTP/1, where anybody can write
 * HTTP/2.0.
 */
export function isHttp2(request: NodeRequest): request is Http2ServerRequest & NodeRequest {
  return request.httpVersionMajor === 2 && (request as Partial<Http2ServerRequest>).stream !== undefined;
}

/** Whether a response belongs to an HTTP/2 stream. */
export function isHttp2Response(response: object): boolean {
  return typeof (response as Partial<Http2ServerResponse>).stream?.respond === 'function';
}

/**
 * Whether the client has left, or has its response already. A handler that waits for `close` would wait for ever: that event has been
 * emitted.
 */
export function isOver(response: NodeResponse): boolean {
  const sent: { readonly destroyed?: boolean; readonly closed?: boolean } = isHttp2Response(response)
    ? (response as Http2ServerResponse).stream
    : response;
  return sent.destroyed === true || sent.closed === true;
}
