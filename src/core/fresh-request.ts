/**
 * A request like one whose body was read, with the bytes for whoever reads it next. It is of the same class, since
 * frameworks have their own.
 *
 * @param bytes the body, of any length
 */
export function toFreshRequest(request: Request, bytes: Uint8Array): Request {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    const Same = request.constructor as typeof Request;
    return new Same(request, { body: bytes as Uint8Array<ArrayBuffer> });
  }
  // Some servers give these methods a body, and no `Request` can be made with one: the application never sees it.
  const { method, headers, signal, redirect, cf } = request as Request & { cf?: unknown };
  return new Request(request.url, {
    method,
    headers,
    signal,
    redirect,
    ...(cf === undefined ? {} : { cf }), // what Cloudflare knows of the connection
  } as RequestInit);
}

/**
 * The same request, with a stream in the place of its body.
 *
 * @param request of another method than GET and HEAD
 */
export function toStreamingRequest(request: Request, stream: ReadableStream<Uint8Array>): Request {
  return new Request(request, { body: stream, duplex: 'half' } as RequestInit);
}
