import { isHttp2, type NodeRequest } from './request';

/** Whether the last byte is here. Requests of HTTP/2 never set `complete`; their stream has ended instead. */
export function hasArrived(request: NodeRequest): boolean {
  if (isHttp2(request)) return request.stream.readableEnded && !isGone(request);
  return request.complete;
}

/** Whether the client has gone. The streams of HTTP/2 end then as if all had come. */
export function isGone(request: NodeRequest): boolean {
  return isHttp2(request) ? request.stream.aborted || request.stream.destroyed : request.destroyed;
}

/** Takes what has come so far out of a request's stream, and leaves it fit for more. */
export function takeBuffered(request: NodeRequest): Buffer[] {
  const chunks: Buffer[] = [];
  // An empty stream must not be read: that would end it, and a parser after this would wait for ever.
  while (request.readableLength > 0) {
    const chunk: Buffer | null = request.read();
    if (chunk === null) break;
    chunks.push(chunk);
  }
  return chunks;
}

/** Why trailers are refused, where there are any: nobody has signed them, and a proxy may merge them into the headers. */
export function trailersFault(request: NodeRequest): string | undefined {
  const { rawTrailers = [] } = request; // a request over no socket has none
  return rawTrailers.length > 0 ? 'The body is followed by trailers, which are not signed.' : undefined;
}
